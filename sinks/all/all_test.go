package all_test

import (
	"testing"

	"switchboard/sinks/all"
)

func TestKindsHaveNamesOfTheirOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range all.Kinds() {
		if k.Name() == "" || seen[k.Name()] {
			t.Errorf("kind %q is there twice or has no name", k.Name())
		}
		seen[k.Name()] = true
	}
	for _, name := range []string{"inbox", "webhook", "zendesk"} {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
}
