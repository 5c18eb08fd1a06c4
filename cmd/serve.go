package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"switchboard/internal/app"
	"switchboard/internal/config"
	"switchboard/internal/telemetry"
)

func (c *cli) serve() *cobra.Command {
	var demo bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Take messages in, file them, and serve the console (the default command)",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if demo {
				return c.runDemo(cmd.Context())
			}
			return c.runServe(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.config, "config", "", "configuration file (default switchboard.yaml, if it exists)")
	f.StringVar(&c.listen, "listen", "", "address to listen on, instead of the file's")
	f.StringVar(&c.data, "data", "", "data directory, instead of the file's")
	f.BoolVar(&c.recovered, "recovered", false, "a backup was restored: ask the desks before filing, for one horizon")
	f.BoolVar(&demo, "demo", false, "play a small shop's morning against the sandbox")
	return cmd
}

func (c *cli) runServe(ctx context.Context) error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	rules, err := config.LoadRules(conf.Rules, conf.Names())
	if err != nil {
		return err
	}
	for _, w := range append(conf.Warnings, rules.Warnings...) {
		fmt.Fprintln(c.err, w)
	}
	return c.run(ctx, conf, rules, nil)
}

// restartPause is how long a broken broker's disk is given before the next start.
const restartPause = time.Second

// run runs the program until ctx ends, anew when the embedded broker asks for it.
// started, if not nil, is called once messages are taken in.
func (c *cli) run(ctx context.Context, conf *config.Config, rules *config.Rules, started func(*app.App)) error {
	format, err := telemetry.ParseFormat(conf.Log.Format)
	if err != nil {
		return usage{err}
	}
	log := telemetry.NewLogger(c.err, format, conf.Log.Level)
	for {
		err := c.runOnce(ctx, conf, rules, log, started)
		if !errors.Is(err, app.ErrRestart) || ctx.Err() != nil {
			return err
		}
		log.Warn("starting anew", "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartPause):
		}
	}
}

func (c *cli) runOnce(ctx context.Context, conf *config.Config, rules *config.Rules, log *slog.Logger, started func(*app.App)) error {
	a, err := app.New(ctx, app.Options{Config: conf, Rules: rules, Log: log, Version: version(), Recovered: c.recovered})
	if err != nil {
		return err
	}
	c.greet(a, conf)
	if started != nil {
		go started(a)
	}
	return errors.Join(a.Run(ctx), a.Close())
}

// greet says where everything is.
func (c *cli) greet(a *app.App, conf *config.Config) {
	url := a.URL()
	fmt.Fprintf(c.out, "switchboard %s listens\n\n", version())
	fmt.Fprintf(c.out, "  console   %s/\n", url)
	if p := a.Password(); p != "" {
		fmt.Fprintf(c.out, "            sign in as admin with %s (shown only now; change it with `switchboard passwd admin`)\n", p)
	}
	for _, ch := range conf.Channels {
		traits := ch.Kind.Traits()
		switch {
		case traits.Form:
			fmt.Fprintf(c.out, "  form      %s/form/%s\n", url, ch.Name)
		case ch.Kind.Name() == "webhook" && conf.File == "":
			fmt.Fprintf(c.out, "  webhook   %s/hooks/%s, with the token in %s\n", url, ch.Name, filepath.Join(conf.Data, webhookToken))
		default:
			fmt.Fprintf(c.out, "  %-9s %s/hooks/%s\n", ch.Kind.Name(), url, ch.Name)
		}
	}
	fmt.Fprintf(c.out, "  data      %s\n\n", conf.Data)
}
