// Command bench measures what BENCHMARKS.md promises, each figure with its baseline
// in the same run on the same machine, prints a table and writes BENCHMARKS.md.
//
// The program under test is the release binary, a process of its own with a fresh
// data directory. The fake desk and the bare net/http server that accept is
// compared with are processes of their own, too: this binary under another
// command. A figure is void unless the desk holds every accepted message exactly
// once, told apart by the number that each message carries in its text.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errMissed says that the table is honest and a goal is not met.
var errMissed = errors.New("not every goal is met")

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "desk":
			return serveDesk(ctx, args[1:])
		case "bare":
			return serveBare(ctx)
		case "accept":
			return serveAccept(ctx, args[1:])
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "goals to measure, such as P4,P14; all when empty, and only then BENCHMARKS.md is written")
	rounds := flags.Int("rounds", 3, "rounds of which the median counts")
	file := flags.String("o", "BENCHMARKS.md", "file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "switchboard-bench-") //nolint:usetesting // a program, not a test
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays behind is the system's to clear
	b := &bench{ctx: ctx, dir: dir, rounds: *rounds, out: out, binary: filepath.Join(dir, "switchboard")}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	if err := b.measure(); err != nil {
		return err
	}
	text := b.table()
	fmt.Fprint(out, "\n", text)
	if b.only == nil {
		if err := os.WriteFile(*file, []byte(b.document(text)), 0o644); err != nil { //nolint:gosec // a document
			return err
		}
	}
	if slices.ContainsFunc(b.results, func(r result) bool { return r.goal != "" && !r.met }) {
		return errMissed
	}
	return nil
}

// A bench is one run of all measurements.
type bench struct {
	ctx     context.Context //nolint:containedctx // the program's own, from main to the end
	dir     string
	binary  string
	rounds  int
	only    []string
	out     io.Writer
	results []result
	starts  int
}

// wants reports whether one of the goals is asked for.
func (b *bench) wants(goals ...string) bool {
	return b.only == nil || slices.ContainsFunc(goals, func(g string) bool { return slices.Contains(b.only, g) })
}

func (b *bench) measure() error {
	if err := b.build(); err != nil {
		return err
	}
	for _, step := range []struct {
		name  string
		goals []string
		run   func() error
	}{
		{"cold start and idle memory", []string{"P14", "P15"}, b.coldStart},
		{"cost per message and latency at os", []string{"P4", "P5", "P6", "P14"}, b.atOS},
		{"a desk that takes 50 ms", []string{"P7", "P8"}, b.slowDesk},
		{"end to end at disk", []string{"P17"}, b.atDisk},
		{"durable accept against bare net/http", []string{"P1"}, b.accept},
		{"group commit and the Watermill hop", []string{"P9", "P10"}, b.bus},
	} {
		if !b.wants(step.goals...) {
			continue
		}
		started := time.Now()
		fmt.Fprintf(b.out, "%s …", step.name)
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(b.out, " %.0f s\n", time.Since(started).Seconds())
	}
	return nil
}
