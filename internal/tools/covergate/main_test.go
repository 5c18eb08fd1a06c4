package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const profile = `mode: set
m/a/x.go:1.1,2.2 3 1
m/a/x.go:3.1,4.2 1 0
m/a/x.go:3.1,4.2 1 0
m/b/y.go:1.1,2.2 4 0
m/b/y.go:1.1,2.2 4 7
m/internal/tools/z/z.go:1.1,2.2 4 0
`

func TestReport(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	below, err := report(&out, strings.NewReader(profile), 80)
	if err != nil {
		t.Fatal(err)
	}
	want := "  75.0 %  m/a  below\n 100.0 %  m/b\n   0.0 %  m/internal/tools/z\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if below != 1 {
		t.Errorf("got %d packages below want 1", below)
	}
}

func TestReportRefusesOtherFiles(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"hello\n", "a.go:1.1,2.2 x 1\n"} {
		if _, err := report(&strings.Builder{}, strings.NewReader(in), 80); err == nil {
			t.Errorf("%q was read", in)
		}
	}
}
