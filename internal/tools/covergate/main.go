// Command covergate reads a coverage profile, prints the share of statements that
// ran per package, and exits with 1 if a package lies below the minimum.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

func main() {
	least := flag.Float64("min", 80, "the smallest share allowed, in percent")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: covergate [-min 80] coverage.out")
		os.Exit(2)
	}
	f, err := os.Open(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "covergate:", err)
		os.Exit(2)
	}
	defer f.Close()
	below, err := report(os.Stdout, f, *least)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "covergate:", err)
		os.Exit(2)
	case below > 0:
		fmt.Fprintf(os.Stderr, "covergate: %d packages below %g %%\n", below, *least)
		os.Exit(1)
	}
}

// A tally counts the statements of one package.
type tally struct{ ran, all int }

// report writes one line per package and returns how many are below least.
// Programs below internal/tools are not counted: they run at a developer's desk.
func report(w io.Writer, profile io.Reader, least float64) (below int, err error) {
	packages, err := read(profile)
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		t := packages[name]
		share := 100 * float64(t.ran) / float64(max(t.all, 1))
		mark := ""
		if share < least && !strings.Contains(name, "/internal/tools/") {
			mark = "  below"
			below++
		}
		fmt.Fprintf(w, "%6.1f %%  %s%s\n", share, name, mark)
	}
	return below, nil
}

// read adds up a profile. With -coverpkg a block stands in it once per test
// binary, and ran if it ran in any.
func read(profile io.Reader) (map[string]tally, error) {
	type block struct {
		statements int
		ran        bool
	}
	blocks := map[string]block{}
	lines := bufio.NewScanner(profile)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("not a line of a coverage profile: %q", line)
		}
		statements, err1 := strconv.Atoi(fields[1])
		count, err2 := strconv.Atoi(fields[2])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("not a line of a coverage profile: %q", line)
		}
		blocks[fields[0]] = block{statements, blocks[fields[0]].ran || count > 0}
	}
	out := map[string]tally{}
	for place, b := range blocks {
		file, _, _ := strings.Cut(place, ":")
		t := out[path.Dir(file)]
		t.all += b.statements
		if b.ran {
			t.ran += b.statements
		}
		out[path.Dir(file)] = t
	}
	return out, lines.Err()
}
