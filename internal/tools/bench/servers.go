package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/channels/webhook"
	"switchboard/internal/bus"
	"switchboard/internal/intake"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
)

// serveBare is net/http with nothing behind it: it reads the body and answers.
func serveBare(ctx context.Context) error {
	return serveChild(ctx, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a caller that hung up is gone
	}))
}

// serveAccept is the program's intake over its bus and nothing behind: deliveries
// are verified and durable when the caller hears a yes, and stay where they are.
func serveAccept(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("accept", flag.ContinueOnError)
	durability := flags.String("durability", "disk", "disk or os")
	dir := flags.String("data", "", "folder of the broker")
	if err := flags.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	b, err := bus.Open(ctx, bus.Options{Dir: *dir, Durability: bus.Durability(*durability), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	tokens, err := record.OpenTokens(ctx, b)
	if err != nil {
		return err
	}
	in, err := intake.New(intake.Options{Bus: b, Tokens: tokens, Metrics: telemetry.NewMetrics(), Log: log})
	if err != nil {
		return err
	}
	cfg := *webhook.Kind.Config().(*webhook.Config)
	cfg.Token = secret.Literal(token)
	c, err := channels.OpenChannel(webhook.Kind, cfg, channels.Env{Name: "in", Log: log})
	if err != nil {
		return err
	}
	in.AddChannel(c, 0, 0)
	mux := http.NewServeMux()
	mux.Handle("/hooks/", in.Handler())
	mux.HandleFunc("GET /stored", func(w http.ResponseWriter, r *http.Request) {
		info, err := b.Info(r.Context(), bus.Deliveries)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, info.Messages)
	})
	return serveChild(ctx, mux)
}
