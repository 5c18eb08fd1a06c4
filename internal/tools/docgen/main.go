// Command docgen writes docs/reference from the kinds in the binary and the
// configuration's Go types and their comments.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	channelkinds "switchboard/channels/all"
	sinkkinds "switchboard/sinks/all"
)

func main() {
	root := flag.String("root", ".", "the module's root")
	flag.Parse()
	if err := write(*root, *root); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

// write makes every page from the sources below root, and writes those that
// changed below out.
func write(root, out string) error {
	files, err := newReader(root).pages(channelkinds.Kinds(), sinkkinds.Kinds())
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p := filepath.Join(out, filepath.FromSlash(name))
		if old, err := os.ReadFile(p); err == nil && string(old) == string(files[name]) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
		if err := os.WriteFile(p, files[name], 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
		fmt.Println("wrote", name)
	}
	return nil
}
