package cmd

import (
	"context"
	_ "embed" // the sandbox's own configuration
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/channels"
	"switchboard/internal/config"
)

//go:embed sandbox.yaml
var sandboxConfig []byte

//go:embed sandbox-rules.yaml
var sandboxRules []byte

// sandboxAddress is where the sandbox listens unless told otherwise, and where
// sandbox.yaml points.
const sandboxAddress = "127.0.0.1:9900"

func (c *cli) sandbox() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "sandbox", Short: "Play the vendors of the configuration: fakes of every desk and channel, with dials for faults",
		Long: "Serves a fake for every channel and sink of the configuration that has one, below its name.\n" +
			"PUT /NAME/_sandbox/dials turns the faults, GET /NAME/_sandbox/tickets and /sent read what it holds.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.runSandbox(cmd.Context(), address) },
	}
	cmd.Flags().StringVar(&c.config, "config", "", "configuration file (default switchboard.yaml, if it exists)")
	cmd.Flags().StringVar(&address, "listen", sandboxAddress, "address to listen on")
	initial := &cobra.Command{
		Use: "init", Short: "Write a switchboard.yaml and a rules.yaml that run against the sandbox", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return c.initSandbox() },
	}
	cmd.AddCommand(initial, c.send())
	return cmd
}

func (c *cli) initSandbox() error {
	for name, content := range map[string][]byte{defaultFile: sandboxConfig, "rules.yaml": sandboxRules} {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%s is there already; nothing was changed", name)
		}
		if err != nil {
			return err
		}
		_, writeErr := f.Write(content)
		if err := errors.Join(writeErr, f.Close()); err != nil {
			return err
		}
		fmt.Fprintln(c.out, "wrote", name)
	}
	fmt.Fprintln(c.out, "\nstart `switchboard sandbox` in one terminal and `switchboard` in another, then try\n  switchboard sandbox send shop-sms --text \"URGENT where is my order 1234?\"")
	return nil
}

// sandboxConf reads the configuration to play; without a file, the sandbox's own.
func (c *cli) sandboxConf() (*config.Config, error) {
	if c.config == "" {
		if _, err := os.Stat(defaultFile); errors.Is(err, fs.ErrNotExist) {
			return config.Load("sandbox.yaml", c.embedded("http://"+sandboxAddress, ""))
		}
	}
	return c.load()
}

// embedded reads the sandbox's own configuration, with the fakes at base.
func (c *cli) embedded(base, public string) config.Options {
	o := c.options()
	o.ReadFile = func(string) ([]byte, error) {
		text := strings.ReplaceAll(string(sandboxConfig), "http://"+sandboxAddress, base)
		if public != "" {
			text = strings.ReplaceAll(text, "public_url: http://localhost:8080", "public_url: "+public)
		}
		return []byte(text), nil
	}
	return o
}

// A caller is a fake desk that tells its webhook what its agents did.
type caller struct {
	desk interface{ Events() []hook.Delivery }
	sign func(*hook.Delivery)
	// url is the address that is signed; queue waits for a 2xx, oldest first.
	url   string
	queue []hook.Delivery
}

// fakes returns a handler that plays every vendor of conf below the instance's
// name, the names it plays, and the desks that call back.
func fakes(conf *config.Config) (http.Handler, []string, []*caller) {
	mux := http.NewServeMux()
	var names []string
	var callers []*caller
	add := func(name string, f sandbox.Fake, board *sandbox.Board) {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, board.Wrap(f)))
		names = append(names, name)
	}
	for i, c := range conf.Channels {
		if fake := c.Kind.Traits().Fake; fake != nil {
			board := sandbox.NewBoard(uint64(i) + 1)
			add(c.Name, fake(c.Value, board), board)
		}
	}
	for i, s := range conf.Sinks {
		traits := s.Kind.Traits()
		if traits.Fake == nil {
			continue
		}
		board := sandbox.NewBoard(uint64(i) + 101)
		desk := traits.Fake(s.Value, board)
		add(s.Name, desk, board)
		if d, ok := desk.(interface{ Events() []hook.Delivery }); ok && traits.Sign != nil {
			sign := func(d *hook.Delivery) { traits.Sign(s.Value, d) }
			callers = append(callers, &caller{desk: d, sign: sign, url: publicURL(conf) + "/hooks/" + s.Name})
		}
	}
	return mux, names, callers
}

// publicURL is where the running switchboard is reached.
func publicURL(conf *config.Config) string {
	if conf.PublicURL != "" {
		return conf.PublicURL
	}
	return "http://localhost" + conf.Listen
}

// callEvery is how often the fake desks tell what their agents did.
const callEvery = 200 * time.Millisecond

// callBack tells what happened at the desks until ctx ends; to says where the
// signed address is reached.
func callBack(ctx context.Context, callers []*caller, to func(url string) string) {
	client := &http.Client{Timeout: 10 * time.Second}
	tick := time.NewTicker(callEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range callers {
			c.queue = append(c.queue, c.desk.Events()...)
			for len(c.queue) > 0 && c.tell(ctx, client, to) {
				c.queue = c.queue[1:]
			}
		}
	}
}

func (c *caller) tell(ctx context.Context, client *http.Client, to func(string) string) bool {
	d := c.queue[0]
	d.Method, d.URL, d.ReceivedAt = http.MethodPost, c.url, time.Now().UTC()
	if d.Header == nil {
		d.Header = http.Header{}
	}
	c.sign(&d)
	d.URL = to(d.URL)
	status, _, err := post(ctx, client, d)
	return err == nil && status < 300
}

func (c *cli) runSandbox(ctx context.Context, address string) error {
	conf, err := c.sandboxConf()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another address with --listen", address, err)
	}
	handler, names, callers := fakes(conf)
	go callBack(ctx, callers, func(url string) string { return url })
	fmt.Fprintf(c.out, "the sandbox listens on http://%s and plays\n", l.Addr())
	for _, name := range names {
		fmt.Fprintf(c.out, "  %-16s http://%s/%s\n", name, l.Addr(), name)
	}
	return serveUntil(ctx, l, handler)
}

// serveUntil serves until ctx ends.
func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		_ = srv.Close() // connections of a sandbox need no grace
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

func (c *cli) send() *cobra.Command {
	var to, from, name, subject, text, id string
	var curl bool
	cmd := &cobra.Command{
		Use: "send CHANNEL", Short: "Send a message as the vendor of a channel would, signed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := c.sandboxConf()
			if err != nil {
				return err
			}
			d, err := signed(conf, args[0], to, channels.Sample{
				ID: or(id, strings.ToLower(randomText()[:12])), From: from, Name: name, Subject: subject, Text: text, At: time.Now().UTC(),
			})
			if err != nil {
				return usage{err}
			}
			if curl {
				fmt.Fprintln(c.out, asCurl(d))
				return nil
			}
			status, answer, err := post(cmd.Context(), http.DefaultClient, d) //nolint:forbidigo // a command of one request
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%d %s\n", status, strings.TrimSpace(answer))
			if status >= 300 {
				return failed{exitFailed}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.config, "config", "", "configuration file (default switchboard.yaml, if it exists)")
	f.StringVar(&to, "to", "", "address of the running switchboard (default: public_url of the file)")
	f.StringVar(&from, "from", "", "the customer's address, as the vendor names people")
	f.StringVar(&name, "name", "Ilse Brandt", "the customer's name")
	f.StringVar(&subject, "subject", "", "subject, where the channel has one")
	f.StringVar(&text, "text", "Where is my order 1234?", "text of the message")
	f.StringVar(&id, "id", "", "the vendor's id of the message; the same twice is the same message")
	f.BoolVar(&curl, "curl", false, "print a curl command instead of sending")
	return cmd
}

// signed makes a delivery to a channel, signed as its vendor would.
func signed(conf *config.Config, channel, to string, s channels.Sample) (hook.Delivery, error) {
	ch, ok := conf.Channel(channel)
	if !ok {
		var names []string
		for _, c := range conf.Channels {
			names = append(names, c.Name)
		}
		return hook.Delivery{}, fmt.Errorf("no channel %q; there are %s", channel, strings.Join(names, ", "))
	}
	traits := ch.Kind.Traits()
	if traits.Sample == nil {
		return hook.Delivery{}, fmt.Errorf("channel %s: messages of kind %s cannot be made here", channel, ch.Kind.Name())
	}
	if s.From == "" {
		s.From = map[string]string{"twilio-sms": "+442079460117", "telegram": "700000042"}[ch.Kind.Name()]
	}
	if s.From == "" {
		s.From = "ilse@brandt.example"
	}
	path := "/hooks/" + channel
	if traits.Form {
		path = "/form/" + channel
	}
	d := traits.Sample(ch.Value, s)
	d.URL, d.ReceivedAt = publicURL(conf)+path, s.At
	if d.Method == "" {
		d.Method = http.MethodPost
	}
	if d.Header == nil {
		d.Header = http.Header{}
	}
	if traits.Sign != nil {
		traits.Sign(ch.Value, &d)
	}
	if to != "" {
		d.URL = strings.TrimRight(to, "/") + path // signed is the public address, called another
	}
	return d, nil
}

func post(ctx context.Context, client *http.Client, d hook.Delivery) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, d.Method, d.URL, strings.NewReader(string(d.Body)))
	if err != nil {
		return 0, "", err
	}
	r.Header = d.Header.Clone()
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return resp.StatusCode, string(body), err
}

// asCurl is the delivery as a command for a POSIX shell.
func asCurl(d hook.Delivery) string {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	var b strings.Builder
	b.WriteString("curl -i -X " + d.Method)
	for k, values := range d.Header {
		for _, v := range values {
			b.WriteString(" -H " + quote(k+": "+v))
		}
	}
	b.WriteString(" --data-binary " + quote(string(d.Body)) + " " + quote(d.URL))
	return b.String()
}
