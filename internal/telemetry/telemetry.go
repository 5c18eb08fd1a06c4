// Package telemetry is how the host tells what it does: the log handler, the
// metrics behind /metrics, and the trace that a message carries through the
// streams.
//
// Nothing here is global. The process makes one Logger and one Metrics and hands
// them on.
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"github.com/mattn/go-isatty"
)

// A Format is how log lines look.
type Format string

// Formats of log lines. Auto is Text, in colour where the output is a terminal.
const (
	Auto Format = "auto"
	Text Format = "text"
	JSON Format = "json"
)

// ParseFormat reads a format as it stands in a flag or a file; "" is Auto.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Auto, nil
	case Auto, Text, JSON:
		return f, nil
	default:
		return "", fmt.Errorf("unknown log format %q; there are auto, text, json", s)
	}
}

// NewLogger returns a logger that writes to w. Times are UTC. A line logged with
// a context that carries a trace gets its id as the attribute trace. level may
// be a *slog.LevelVar, so that it can be turned while the process runs; nil
// means info.
func NewLogger(w io.Writer, format Format, level slog.Leveler) *slog.Logger {
	if level == nil {
		level = slog.LevelInfo
	}
	return slog.New(tracing{handler(w, format, level)})
}

// Discard returns a logger that drops everything, for tests.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func handler(w io.Writer, format Format, level slog.Leveler) slog.Handler {
	plain := &slog.HandlerOptions{Level: level, ReplaceAttr: utc}
	switch {
	case format == JSON:
		return slog.NewJSONHandler(w, plain)
	case format == Auto && terminal(w):
		return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly})
	default:
		return slog.NewTextHandler(w, plain)
	}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// utc writes the time of a line in UTC, so that lines of several machines sort.
func utc(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		return slog.Time(slog.TimeKey, a.Value.Time().UTC())
	}
	return a
}

// tracing adds the trace of the context to a line.
type tracing struct{ slog.Handler }

// Handle adds the trace and passes the line on.
func (h tracing) Handle(ctx context.Context, r slog.Record) error {
	if t, ok := TraceFrom(ctx); ok {
		r = r.Clone()
		r.AddAttrs(slog.String("trace", t.ID()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h tracing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tracing{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h tracing) WithGroup(name string) slog.Handler { return tracing{h.Handler.WithGroup(name)} }
