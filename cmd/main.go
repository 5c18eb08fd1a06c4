// Package cmd is the command line. A shop that needs a channel or a desk of its
// own builds its own binary with Main and its own list of kinds.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"switchboard/channels"
	"switchboard/internal/config"
	"switchboard/sinks"
)

// Kinds are the adapters of a binary.
type Kinds struct {
	Channels []channels.Kind
	Sinks    []sinks.Kind
}

// Exit codes.
const (
	exitOK = 0
	// exitFailed: it was tried and failed; for check: the files have errors.
	exitFailed = 1
	// exitUsage: the command line was wrong, or a file cannot be read.
	exitUsage = 2
)

// failed is an error whose words are already out, with the exit code it means.
type failed struct{ code int }

func (f failed) Error() string { return fmt.Sprintf("exit %d", f.code) }

// usage is an error of the command line itself.
type usage struct{ error }

// Main runs the command line of a binary with these kinds and returns the exit
// code: 0, 1 when what was asked failed, 2 when the command line is wrong or a
// file cannot be read. It ends at SIGINT and SIGTERM.
func Main(k Kinds) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &cli{kinds: k, out: os.Stdout, err: os.Stderr, getenv: os.LookupEnv}
	return c.main(ctx, os.Args[1:])
}

// A cli is one run of the command line.
type cli struct {
	kinds  Kinds
	out    io.Writer
	err    io.Writer
	getenv func(string) (string, bool)

	// Flags that several commands share.
	config string
	data   string
	listen string
	url    string
	token  string
	json   bool
	// recovered is serve's flag of that name.
	recovered bool
}

func (c *cli) main(ctx context.Context, args []string) int {
	root := c.root()
	root.SetArgs(args)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if f, ok := errors.AsType[failed](err); ok {
		return f.code
	}
	if d, ok := errors.AsType[config.Diagnostics](err); ok {
		fmt.Fprint(c.err, d.Error(), "\n")
		return exitFailed
	}
	fmt.Fprintln(c.err, "switchboard:", err)
	if _, ok := errors.AsType[usage](err); ok {
		return exitUsage
	}
	return exitFailed
}

func (c *cli) root() *cobra.Command {
	serve := c.serve()
	root := &cobra.Command{
		Use:   "switchboard",
		Short: "Turns customers' messages from any channel into tickets on your desks, exactly once",
		Long: "Switchboard stands between your customers' channels and your support desks: every message\n" +
			"becomes exactly one entry on exactly one ticket, and anybody can see why.\n\n" +
			"Without a command it serves. Without a file it serves a form, a webhook and a built-in inbox.",
		SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs, RunE: serve.RunE,
	}
	root.Flags().AddFlagSet(serve.Flags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage{err} })
	root.AddCommand(serve, c.check(), c.explain(), c.audit(), c.dead(), c.forget(), c.passwd(), c.sandbox(), c.version())
	wrongArgs(root)
	return root
}

// wrongArgs makes wrong arguments of cmd and its commands errors of the command
// line.
func wrongArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usage{err}
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		wrongArgs(c)
	}
}

// shared adds the flags by which a command finds the running process.
func (c *cli) shared(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&c.config, "config", "", "configuration file (default switchboard.yaml, if it exists)")
	f.StringVar(&c.data, "data", "", "data directory of the running switchboard")
	f.StringVar(&c.url, "url", "", "address of a switchboard elsewhere, such as https://intake.shop.example")
	f.StringVar(&c.token, "token", "", "token for --url (default: environment SWITCHBOARD_TOKEN)")
	f.BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (c *cli) version() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if c.json {
				return c.print(struct {
					Version string `json:"version"`
				}{version()})
			}
			fmt.Fprintln(c.out, "switchboard", version())
			return nil
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// release is the version when the build does not know a better one.
const release = "0.1.0"

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return release
	}
	return info.Main.Version
}
