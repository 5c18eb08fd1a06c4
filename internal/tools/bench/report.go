package main

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// A result is one line of the table.
type result struct {
	goal, what, threshold, measured, baseline string
	met                                       bool
}

func (b *bench) add(r ...result) { b.results = append(b.results, r...) }

// table is the results in the order of the goals, as Markdown that reads well on a
// terminal, too.
func (b *bench) table() string {
	slices.SortStableFunc(b.results, func(x, y result) int { return cmp.Compare(number(x.goal), number(y.goal)) })
	var t strings.Builder
	w := tabwriter.NewWriter(&t, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| goal\t| what\t| threshold\t| measured\t| baseline in the same run\t| met\t|\n")
	fmt.Fprint(w, "|---\t|---\t|---\t|---\t|---\t|---\t|\n")
	for _, r := range b.results {
		met := "yes"
		if !r.met {
			met = "**no**"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.goal, r.what, r.threshold, r.measured, r.baseline, met)
	}
	_ = w.Flush() // into a strings.Builder
	return t.String()
}

func number(goal string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(goal, "P")) // goals are P and a number
	return n
}

// document is BENCHMARKS.md.
func (b *bench) document(table string) string {
	return fmt.Sprintf(`# Benchmarks

Written by %[1]smake bench%[1]s on %[2]s; do not edit. Every figure stands beside its baseline from the same run; ratios and CPU
seconds per 1,000 messages compare between machines, rates do not.

- Machine: %[3]s. Load average at the end of the run: %[4]s.
- Versions: %[5]s.
- What is measured: the release binary (%[1]sCGO_ENABLED=0 go build -trimpath -ldflags "-s -w"%[1]s) as a process of its own with a fresh data
  folder; one %[1]swebhook%[1]s channel with a bearer token in, one %[1]swebhook%[1]s sink out (Standard Webhooks, the receiver drops repeats) with
  %[6]d calls in flight; 50 rules, 10 keywords; messages of about 1 KB, each a conversation of its own. Load generator, program, desk and
  bare server are processes that share the cores.
- Median of %[7]d rounds, the range in brackets.
- Every run that files messages ends with a count at the desk: each accepted message on exactly one ticket, or the figure is void and
  the run fails. P1 counts what is in the stream.
- P1 compares accept alone, the program's intake over its bus with nothing behind it, with net/http that reads the body and answers: P7's
  rates are those of the whole program, which files messages on the same cores at the same time.
- P2 and P3 (other systems), P11 (backlog) and P12, P13 (matching) are measured elsewhere or belong to later work.

%[8]s`, "`", time.Now().UTC().Format(time.DateOnly), machine(), loadAverage(), versions(), inFlight, b.rounds, table)
}

func machine() string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`model name\s*: (.*)`).FindSubmatch(info); m != nil {
			model = string(m[1])
		}
	}
	memory := ""
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		if m := regexp.MustCompile(`MemTotal:\s+(\d+) kB`).FindSubmatch(info); m != nil {
			kb, _ := strconv.Atoi(string(m[1])) // digits
			memory = fmt.Sprintf(", %d GiB", (kb+1<<19)>>20)
		}
	}
	return fmt.Sprintf("%d cores of %s%s, %s/%s", runtime.NumCPU(), model, memory, runtime.GOOS, runtime.GOARCH)
}

func loadAverage() string {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(load))[:2], ", ")
}

// versions names Go and the libraries that the figures depend on.
func versions() string {
	all := []string{runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if slices.Contains([]string{"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "github.com/ThreeDotsLabs/watermill"}, m.Path) {
				all = append(all, m.Path[strings.LastIndex(m.Path[:len(m.Path)-3], "/")+1:]+" "+m.Version)
			}
		}
	}
	// wrk prints its version with its usage, and fails.
	if out, _ := exec.Command("wrk", "-v").CombinedOutput(); len(out) > 0 { //nolint:noctx // ends at once
		first, _, _ := bytes.Cut(out, []byte(" ["))
		all = append(all, string(first))
	}
	return strings.Join(all, ", ")
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// spread is the median with the range.
func spread(format string, values []float64) string {
	if len(values) == 0 {
		return "-"
	}
	text := fmt.Sprintf(format, median(values))
	if len(values) > 1 {
		text += fmt.Sprintf(" ["+format+" to "+format+"]", slices.Min(values), slices.Max(values))
	}
	return text
}

func spreadMS(values []time.Duration) string {
	inMS := make([]float64, len(values))
	for i, v := range values {
		inMS[i] = float64(v) / float64(time.Millisecond)
	}
	return spread("%.1f ms", inMS)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
