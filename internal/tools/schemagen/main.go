// Command schemagen writes the JSON Schemas of the domain types and of the
// records on the streams, and the AsyncAPI description of the streams, from the
// Go types and their comments.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	root := flag.String("root", ".", "the module's root")
	flag.Parse()
	if err := write(*root); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}

// write makes every file and writes those that changed.
func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		p := filepath.Join(root, "schemas", name)
		if old, err := os.ReadFile(p); err == nil && string(old) == string(files[name]) {
			continue
		}
		if err := os.WriteFile(p, files[name], 0o644); err != nil {
			return fmt.Errorf("write schema: %w", err)
		}
		fmt.Println("wrote", filepath.ToSlash(filepath.Join("schemas", name)))
	}
	return nil
}

// generate returns the files of the schemas folder by name.
func generate(root string) (map[string][]byte, error) {
	b, err := newBuilder(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, t := range documents {
		name := fileName(t)
		if files[name], err = b.document(t, name); err != nil {
			return nil, err
		}
	}
	if files["asyncapi.yaml"], err = b.asyncAPI(); err != nil {
		return nil, err
	}
	return files, nil
}
