package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"switchboard/internal/config"
)

func (c *cli) check() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check the configuration and the rules, and say every mistake at once",
		Long: "Reads switchboard.yaml and the rules it names, and prints every mistake with its place.\n\n" +
			"Exit codes: 0 both files are right, 1 there are mistakes, 2 a file cannot be read.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.runCheck() },
	}
	cmd.Flags().StringVar(&c.config, "config", "", "configuration file (default switchboard.yaml, if it exists)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// A verdict is what check says, as JSON.
type verdict struct {
	OK       bool                `json:"ok"`
	Channels int                 `json:"channels"`
	Sinks    int                 `json:"sinks"`
	Problems []config.Diagnostic `json:"problems,omitempty"`
}

func (c *cli) runCheck() error {
	var all config.Diagnostics
	v := verdict{}
	conf, err := c.load()
	if err != nil && !errors.As(err, &all) {
		return usage{err}
	}
	v.OK = err == nil
	if conf != nil {
		v.Channels, v.Sinks = len(conf.Channels), len(conf.Sinks)
		all = append(all, conf.Warnings...)
		rules, err := config.LoadRules(conf.Rules, conf.Names())
		var mistakes config.Diagnostics
		switch {
		case errors.As(err, &mistakes):
			all, v.OK = append(all, mistakes...), false
		case err != nil:
			return usage{err}
		default:
			all = append(all, rules.Warnings...)
		}
	}
	v.Problems = all
	if c.json {
		if err := c.print(v); err != nil {
			return err
		}
	} else {
		for _, d := range all {
			fmt.Fprintln(c.err, d)
		}
		if v.OK {
			fmt.Fprintf(c.out, "the configuration is right: %d channels, %d sinks\n", v.Channels, v.Sinks)
		}
	}
	if !v.OK {
		return failed{exitFailed}
	}
	return nil
}
