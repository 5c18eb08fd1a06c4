package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"switchboard/channels"
	"switchboard/internal/app"
	"switchboard/internal/config"
)

// A scene is one message of the demo. Twice sends it again; Broken sends a signed
// body that cannot be read.
type scene struct {
	channel, id, from, name, subject, text string
	twice, broken                          bool
}

// morning is a shop's morning, told in the order in which it happens.
var morning = []scene{ //nolint:gochecknoglobals // a text, never written
	{channel: "shop-telegram", id: "101", from: "700000042", name: "Tomasz Wilk", text: "My new Finch does not bind to the R6 receiver, the light keeps blinking red twice, pause, red twice", twice: true},
	{channel: "website", id: "web-1", from: "marta@lindqvist.example", name: "Marta Lindqvist", subject: "Wrong motor mount in the Swift kit", text: "The kit came with the 22 mm mount, the manual says 25 mm. Can you send the right one?"},
	{channel: "shop-sms", id: "sms-1", from: "+442079460117", name: "Ilse Brandt", text: "URGENT where is my order 1234? Two weeks now, this is ridiculous", twice: true},
	{channel: "shop-orders", id: "ord-1262", from: "priya@nair.example", name: "Priya Nair", subject: "Order 1262: house number missing", text: "Payment authorised, the address failed the check: no house number."},
	{channel: "shop-sms", id: "sms-2", from: "+442079460117", name: "Ilse Brandt", text: "Never mind the caps, sorry. It is a present for Friday"},
	{channel: "website", id: "web-2", from: "lars@holm.example", name: "Lars Holm", subject: "Swollen 3S pack", text: "My 3S pack is swollen after charging, is it safe to post it back?"},
	{channel: "shop-orders", id: "broken-1", from: "orders@larkandspar.example", name: "Order system", broken: true},
	{channel: "shop-telegram", id: "102", from: "700000043", name: "Bruno Castellani", text: "Buongiorno, garanzia per il servo che fischia? Comprato a marzo"},
	{channel: "website", id: "web-3", from: "grace@okafor.example", name: "Grace Okafor", subject: "Six trainers for the school club", text: "Could the quote name the buddy-box cable as well? Not urgent, just planning the spring term."},
	{channel: "shop-telegram", id: "103", from: "700000042", name: "Tomasz Wilk", text: "Tried another receiver, same blinking"},
	{channel: "shop-sms", id: "sms-3", from: "+442079460182", name: "Daniel Achterberg", text: "Ruder flattert bei Vollgas. Was tun?"},
	{channel: "shop-orders", id: "ord-1263", from: "yusuf@demir.example", name: "Yusuf Demir", subject: "Tracking number for twelve Petrel kits", text: "Customer pickup on Saturday at ten, tracking number please."},
}

// demoPause is the time between two messages of the demo.
const demoPause = 250 * time.Millisecond

// runDemo serves the sandbox's shop and plays its morning: real HTTP, real
// signatures. Its data are kept apart, and start empty.
func (c *cli) runDemo(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the sandbox: %w", err)
	}
	conf, err := config.Load("demo.yaml", c.embedded("http://"+l.Addr().String(), ""))
	if err != nil {
		return errors.Join(err, l.Close())
	}
	rules, err := config.ParseRules("demo rules.yaml", sandboxRules, conf.Names())
	if err != nil {
		return errors.Join(err, l.Close())
	}
	data := c.data
	if data == "" {
		data = filepath.Join("data", "demo")
		if err := os.RemoveAll(data); err != nil {
			return errors.Join(fmt.Errorf("empty the demo's data: %w", err), l.Close())
		}
	}
	c.override(conf)
	conf.Data = data

	handler, _, callers := fakes(conf)
	sandboxed := make(chan error, 1)
	played, cancel := context.WithCancel(ctx)
	go func() { sandboxed <- serveUntil(played, l, handler) }()
	err = c.run(ctx, conf, rules, func(a *app.App) {
		go callBack(played, callers, func(url string) string { return a.URL() + url[len(conf.PublicURL):] })
		c.play(ctx, conf, a.URL())
	})
	cancel()
	return errors.Join(err, <-sandboxed)
}

func (c *cli) play(ctx context.Context, conf *config.Config, to string) {
	client := &http.Client{Timeout: 10 * time.Second}
	for _, s := range morning {
		d, err := signed(conf, s.channel, "", channels.Sample{ID: s.id, From: s.from, Name: s.name, Subject: s.subject, Text: s.text, At: time.Now().UTC()})
		if err == nil && s.broken {
			d.Body = []byte(`{"id":"broken-1","text":`)
			ch, _ := conf.Channel(s.channel)
			ch.Kind.Traits().Sign(ch.Value, &d)
		}
		times := 1
		if s.twice {
			times = 2
		}
		for range times {
			if err == nil {
				local := d
				local.URL = to + d.URL[len(conf.PublicURL):]
				_, _, err = post(ctx, client, local)
			}
		}
		if err != nil {
			fmt.Fprintln(c.err, "switchboard: the demo could not send to", s.channel+":", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(demoPause):
		}
	}
	fmt.Fprintln(c.out, "the demo's morning is played; the console shows it, and the desks of the sandbox hold it")
}
