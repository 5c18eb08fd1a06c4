package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/internal/config"
	"switchboard/sinks"
)

const generated = "<!-- Written by internal/tools/docgen from the Go types and their comments. -->\n"

// pages returns the generated files by their path below the module's root.
func (r *reader) pages(cs []channels.Kind, ss []sinks.Kind) (map[string][]byte, error) {
	out := map[string][]byte{}
	base, err := config.Default(config.Options{ChannelKinds: cs, SinkKinds: ss}, secret.Literal("docgen"))
	if err != nil {
		return nil, fmt.Errorf("read defaults: %w", err)
	}
	if err := r.schemas(out, cs, ss); err != nil {
		return nil, err
	}
	for name, write := range map[string]func(*strings.Builder) error{
		"channels.md":      func(b *strings.Builder) error { return r.channels(b, cs, base) },
		"sinks.md":         func(b *strings.Builder) error { return r.sinks(b, ss, base) },
		"configuration.md": func(b *strings.Builder) error { return r.configuration(b, base) },
	} {
		var b strings.Builder
		b.WriteString(generated)
		if err := write(&b); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		out["docs/reference/"+name] = []byte(b.String())
	}
	return out, nil
}

// schemas adds the JSON Schemas of both configuration files.
func (r *reader) schemas(out map[string][]byte, cs []channels.Kind, ss []sinks.Kind) error {
	// Reading the options reads the comments of every package that they come from.
	all := []any{&config.Config{}, &config.ChannelCommon{}, &config.SinkCommon{}}
	for _, k := range cs {
		all = append(all, k.Config())
	}
	for _, k := range ss {
		all = append(all, k.Config())
	}
	for _, cfg := range all {
		if _, err := r.options(reflect.ValueOf(cfg).Elem(), ""); err != nil {
			return err
		}
	}
	docs := map[string]string{}
	for path, doc := range r.docs {
		for name, text := range doc.Fields("yaml") {
			docs[path+"."+name] = text
		}
	}
	file, rules, err := config.Schemas(config.Options{ChannelKinds: cs, SinkKinds: ss}, docs)
	if err != nil {
		return fmt.Errorf("make schemas of the configuration: %w", err)
	}
	out["schemas/switchboard.schema.json"], out["schemas/rules.schema.json"] = file, rules
	return nil
}

func (r *reader) channels(b *strings.Builder, kinds []channels.Kind, base *config.Config) error {
	b.WriteString("# Channels\n\nA channel stands below `channels:` in `switchboard.yaml`, under a name of your own, with its `kind`.\n" +
		"Secrets are written as `env:NAME` or `file:PATH`.\n\n")
	b.WriteString("| kind | replies | vendor sends again | largest delivery | largest attachment |\n|---|---|---|---|---|\n")
	for _, k := range kinds {
		t := k.Traits()
		fmt.Fprintf(b, "| [%s](#%s) | %s | %s | %s | %s |\n", k.Name(), k.Name(), t.Reply, yesNo(t.Retries), size(t.MaxBody), size(t.MaxFile))
	}
	b.WriteString("\nReplies: with an *idempotency key* or a *look-up* an answer whose sending broke off is finished without a second\n" +
		"copy; on a *blind* channel such an answer is put to a person instead of being sent twice.\n" +
		"Where the vendor does not send again, what it cannot deliver is fetched by polling, if the vendor keeps it.\n")
	for _, k := range kinds {
		if err := r.kind(b, k.Name(), k.Config()); err != nil {
			return err
		}
	}
	b.WriteString("\n## Every channel\n\n")
	return r.section(b, base.Channels[0].Common)
}

func (r *reader) sinks(b *strings.Builder, kinds []sinks.Kind, base *config.Config) error {
	b.WriteString("# Sinks\n\nA sink is a helpdesk. It stands below `sinks:` in `switchboard.yaml`, under a name of your own, with its `kind`.\n" +
		"Secrets are written as `env:NAME` or `file:PATH`.\n\n")
	b.WriteString("| kind | a lost answer to create | to append | looked for | calls at once |\n|---|---|---|---|---|\n")
	for _, k := range kinds {
		t := k.Traits()
		fmt.Fprintf(b, "| [%s](#%s) | %s | %s | %s | %d |\n", k.Name(), k.Name(), class(t.Create, t.Window), class(t.Append, t.Window), span(t.Settle), t.Concurrency)
	}
	b.WriteString("\nWhen a call's answer is lost, Switchboard finds out what became of it before it repeats: how, and for how long,\n" +
		"is in the table (docs/protocol.md §6).\n")
	for _, k := range kinds {
		if err := r.kind(b, k.Name(), k.Config()); err != nil {
			return err
		}
	}
	b.WriteString("\n## Every sink\n\n")
	return r.section(b, base.Sinks[0].Common)
}

func (r *reader) configuration(b *strings.Builder, base *config.Config) error {
	b.WriteString("# switchboard.yaml\n\nThe keys at the top of the file. Below `channels:` and `sinks:` stand the kinds of [channels.md](channels.md) and\n" +
		"[sinks.md](sinks.md). An editor completes and checks the file with `schemas/switchboard.schema.json`.\n\n")
	return r.section(b, base)
}

// kind writes the heading, the package comment and the options of one kind.
func (r *reader) kind(b *strings.Builder, name string, cfg any) error {
	v := reflect.ValueOf(cfg).Elem()
	doc, err := r.pkg(v.Type().PkgPath())
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "\n## %s\n\n", name)
	if doc != nil && doc.Doc != "" {
		fmt.Fprintf(b, "%s\n\n", sentence(doc.Doc))
	}
	if dir, ok := strings.CutPrefix(v.Type().PkgPath(), "switchboard/"); ok {
		readme := dir + "/README.md"
		if _, err := os.Stat(filepath.Join(r.root, filepath.FromSlash(readme))); err == nil {
			fmt.Fprintf(b, "How to set it up at the vendor: [%s](../../%s).\n\n", readme, readme)
		}
	}
	options, err := r.options(v, "")
	if err != nil {
		return err
	}
	if len(options) == 0 {
		b.WriteString("It has no options of its own.\n")
		return nil
	}
	table(b, options)
	return nil
}

// sentence takes the first two words, "Package form", from a package's comment.
func sentence(doc string) string {
	rest, ok := strings.CutPrefix(doc, "Package ")
	if _, said, found := strings.Cut(rest, " "); ok && found {
		if strings.HasPrefix(said, "is ") {
			return "It " + said
		}
		return strings.ToUpper(said[:1]) + said[1:]
	}
	return doc
}

// section writes the options of a struct with its defaults.
func (r *reader) section(b *strings.Builder, value any) error {
	v := reflect.ValueOf(value)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	options, err := r.options(v, "")
	if err != nil {
		return err
	}
	table(b, options)
	return nil
}

func class(c sinks.Class, window time.Duration) string {
	if c == sinks.KeyWindow || c == sinks.LaggingLookup {
		return fmt.Sprintf("%s (%s)", c, span(window))
	}
	return c.String()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// size writes bytes in the largest unit that leaves a whole number.
func size(n int64) string {
	switch {
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}
