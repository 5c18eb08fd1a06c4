// Package sinktest holds every sink to the contract of package sinks: it plays
// the host's part against the kind's own fake, loses answers, breaks
// connections, and looks into the fake's store for the verdict.
package sinktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/adapter/sandbox"
	"switchboard/adapter/secret"
	"switchboard/schemas"
	"switchboard/sinks"
)

// An Option changes what Run lends to the sink.
type Option func(*options)

type options struct {
	db func(*testing.T) *sql.DB
}

// DB lends a fresh, empty database to every sink that Run opens: for kinds that
// keep tickets themselves.
func DB(open func(*testing.T) *sql.DB) Option { return func(o *options) { o.db = open } }

// Run holds k to the contract. cfg is a complete configuration; the settings
// that point to the fake (Fake.Settings) are put over it by their YAML names. A
// part whose optional interface the sink lacks is skipped. A kind without a fake
// is tested without a network.
//
// A fake that can tell what it would have sent to a webhook has the method
// Events() []hook.Delivery, unsigned and oldest first; each call returns what is
// new since the last.
func Run[C any](t *testing.T, k sinks.Kind, cfg C, opts ...Option) {
	t.Helper()
	for _, p := range parts() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s, err := newStand(t, k, cfg, opts...)
			if err != nil {
				t.Fatalf("open %s: %v", k.Name(), err)
			}
			if lacks := s.lacks(p.needs); lacks != "" {
				t.Skipf("%s has no %s", k.Name(), lacks)
			}
			if err := p.run(t.Context(), s); err != nil {
				t.Error(err)
			}
			if err := s.leaked(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A part is one behaviour of the contract.
type part struct {
	name  string
	needs need
	run   func(context.Context, *stand) error
}

// A need is what a part asks of the kind.
type need int

const (
	aFake need = 1 << iota
	aFinder
	aThreader
	anAttacher
	anUpdater
	aSource
	aLookup   // Finder or a class that makes a repeat harmless
	aReceiver // class ReceiverDedup
)

func parts() []part {
	return []part{
		{"check tells good credentials from refused ones", aFake, checks},
		{"create opens one ticket under its key", 0, creates},
		{"create links a follow-up", anUpdater | aFinder, follows},
		{"append adds comments in order", 0, appends},
		{"append to a ticket that is gone", aThreader, gone},
		{"attach adds a file under its key", anAttacher | aThreader, attaches},
		{"update sets what is set and a repeat nothing", anUpdater, updates},
		{"find knows no impossible key", aFinder, findsNothing},
		{"a lost answer to create leaves one ticket", aFake | aLookup, createLost},
		{"a lost answer to append leaves one comment", aFake | aThreader, appendLost},
		{"a lost answer to attach leaves one file", aFake | aThreader | anAttacher, attachLost},
		{"a repeated create sends the same and is the same", aFake | aLookup, repeats},
		{"a receiver that deduplicates gets identical bytes", aFake | aReceiver, identical},
		{"answers are judged by their kind", aFake, judges},
		{"no connection means not done", aFake, unreachable},
		{"cancellation is prompt and means unknown", aFake, cancelled},
		{"deliveries back are proven and read", aFake | aSource, listens},
	}
}

// A stand is one sink before its own fake.
type stand struct {
	kind   sinks.Kind
	traits sinks.Traits[any]
	sink   sinks.Sink
	cfg    any
	env    sinks.Env
	desk   sandbox.Desk // nil: the kind has no fake
	gate   *gate

	mu      sync.Mutex
	logs    bytes.Buffer
	errs    []error
	secrets []string
}

// newStand opens a fresh sink, its fake and a server for it, closed by t.
func newStand[C any](t *testing.T, k sinks.Kind, cfg C, opts ...Option) (*stand, error) {
	t.Helper()
	var o options
	for _, f := range opts {
		f(&o)
	}
	s := &stand{kind: k, traits: k.Traits(), gate: &gate{}}
	s.env = sinks.Env{
		Name: "desk", Log: slog.New(slog.NewTextHandler(lockedWriter{s}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		HTTP:      &http.Client{Transport: &http.Transport{}, Timeout: time.Minute, CheckRedirect: refuseRedirect},
		Catalogue: func() schemas.Catalogue { return schemas.Catalogue{} },
		Changed:   func() {},
	}
	t.Cleanup(s.env.HTTP.CloseIdleConnections)
	if s.traits.Store && o.db != nil {
		s.env.DB = o.db(t)
	}
	if s.traits.Fake != nil {
		board := sandbox.NewBoard(1)
		s.desk = s.traits.Fake(cfg, board)
		s.gate.next, s.gate.board = board.Wrap(s.desk), board
		server := httptest.NewServer(s.gate)
		t.Cleanup(server.Close)
		var err error
		if cfg, err = settle(cfg, s.desk.Settings(server.URL)); err != nil {
			return nil, err
		}
	}
	s.cfg, s.secrets = cfg, secretsOf(reflect.ValueOf(cfg))
	var err error
	if s.sink, err = k.Open(cfg, s.env); err != nil {
		return nil, err
	}
	return s, s.loadCatalogue(t.Context())
}

// loadCatalogue is the host's cache: it is filled once and lent from then on.
func (s *stand) loadCatalogue(ctx context.Context) error {
	c, ok := s.sink.(sinks.Cataloguer)
	if !ok {
		return nil
	}
	all, err := c.Catalogue(ctx)
	if err != nil {
		return fmt.Errorf("read catalogue: %w", err)
	}
	s.env.Catalogue = func() schemas.Catalogue { return all }
	s.sink, err = s.kind.Open(s.cfg, s.env)
	return err
}

// lacks names the first need that the kind does not meet, or "".
func (s *stand) lacks(n need) string {
	_, finder := s.sink.(sinks.Finder)
	_, threader := s.sink.(sinks.Threader)
	_, attacher := s.sink.(sinks.Attacher)
	_, updater := s.sink.(sinks.Updater)
	_, source := s.sink.(sinks.Source)
	class := s.traits.Create
	for _, one := range []struct {
		need need
		has  bool
		name string
	}{
		{aFake, s.desk != nil, "fake"},
		{aFinder, finder, "Find"},
		{aThreader, threader, "Thread"},
		{anAttacher, attacher, "Attach"},
		{anUpdater, updater, "Update"},
		{aSource, source, "Source"},
		{aLookup, class != sinks.ReceiverDedup, "way to look"},
		{aReceiver, class == sinks.ReceiverDedup, "receiver that deduplicates"},
	} {
		if n&one.need != 0 && !one.has {
			return one.name
		}
	}
	return ""
}

// note keeps an error for leaked.
func (s *stand) note(err error) error {
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
	}
	return err
}

// leaked reports secrets or customers' words in any error or log line.
func (s *stand) leaked() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	said := []string{s.logs.String()}
	for _, err := range s.errs {
		said = append(said, fmt.Sprintf("%v %+v", err, err))
	}
	for _, text := range said {
		for _, sec := range s.secrets {
			if strings.Contains(text, sec) {
				return errors.New("a secret of the configuration appears in an error or in the log")
			}
		}
		if strings.Contains(text, words) {
			return errors.New("a customer's words appear in an error or in the log")
		}
	}
	return nil
}

func (s *stand) create(ctx context.Context, t schemas.Ticket) (schemas.Ref, error) {
	ref, err := s.sink.Create(ctx, t)
	return ref, s.note(err)
}

func (s *stand) append(ctx context.Context, ref schemas.Ref, c schemas.Comment) (string, error) {
	id, err := s.sink.Append(ctx, ref, c)
	return id, s.note(err)
}

func (s *stand) attach(ctx context.Context, ref schemas.Ref, f schemas.File) (string, error) {
	id, err := s.sink.(sinks.Attacher).Attach(ctx, ref, f)
	return id, s.note(err)
}

// opened creates a ticket that a part starts from.
func (s *stand) opened(ctx context.Context, t schemas.Ticket) (schemas.Ref, error) {
	ref, err := s.create(ctx, t)
	if err != nil {
		return ref, fmt.Errorf("create %s: %w", t.Key, err)
	}
	if ref.ID == "" {
		return ref, fmt.Errorf("create %s: got no id", t.Key)
	}
	return ref, nil
}

// tickets returns what the desk has under key: from the fake's store, else by
// Find.
func (s *stand) tickets(ctx context.Context, key string) ([]string, error) {
	var ids []string
	if s.desk != nil {
		for _, t := range s.desk.Tickets() {
			if t.Key == key {
				ids = append(ids, t.ID)
			}
		}
		return ids, nil
	}
	f, ok := s.sink.(sinks.Finder)
	if !ok {
		return nil, errors.New("neither a fake nor Find: there is no verdict")
	}
	found, err := f.Find(ctx, key)
	for _, c := range found {
		if c.Key == key {
			ids = append(ids, c.Ref.ID)
		}
	}
	return ids, err
}

// exactly wants one ticket under key, and that one.
func (s *stand) exactly(ctx context.Context, key, id string) error {
	ids, err := s.tickets(ctx, key)
	if err == nil && (len(ids) != 1 || ids[0] != id) {
		err = fmt.Errorf("the desk has %v under the key, want exactly [%s]", ids, id)
	}
	return err
}

// stored returns the fake's ticket with this id.
func (s *stand) stored(id string) (sandbox.Ticket, error) {
	for _, t := range s.desk.Tickets() {
		if t.ID == id {
			return t, nil
		}
	}
	return sandbox.Ticket{}, fmt.Errorf("the desk has no ticket %s", id)
}

// lockedWriter collects log lines.
type lockedWriter struct{ s *stand }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.logs.Write(p)
}

func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// settle puts settings over the fields of cfg that carry these YAML names.
func settle[C any](cfg C, settings map[string]string) (C, error) {
	err := point(reflect.ValueOf(&cfg).Elem(), settings)
	return cfg, err
}

func point(v reflect.Value, settings map[string]string) error {
	for name, value := range settings {
		field := fieldNamed(v, name)
		switch {
		case !field.IsValid():
			return fmt.Errorf("the fake's settings name %s, which the configuration does not have", name)
		case field.Type() == reflect.TypeFor[secret.Secret]():
			field.Set(reflect.ValueOf(secret.Literal(value)))
		case field.Kind() == reflect.String:
			field.SetString(value)
		default:
			return fmt.Errorf("the fake's setting %s is neither text nor a secret", name)
		}
	}
	return nil
}

func fieldNamed(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if tag == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func secretsOf(v reflect.Value) []string {
	var all []string
	for _, field := range v.Fields() {
		if s, ok := reflect.TypeAssert[secret.Secret](field); ok && len(s.Reveal()) > 3 {
			all = append(all, s.Reveal())
		}
	}
	return all
}

// words stand in every text that a made-up customer writes, so that they can be
// found where they must not be.
const words = "quokka-ailerons"

// key returns a key in the host's form, made from what.
func key(what string) string {
	sum := sha256.Sum256([]byte(what))
	return "sb-" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

// person returns a requester; each has an address of their own.
func person(name string, kind schemas.IdentityKind) schemas.Requester {
	value := name + "@customers.example"
	switch kind {
	case schemas.Email:
	case schemas.Phone:
		sum := sha256.Sum256([]byte(name))
		value = fmt.Sprintf("+4930%07d", (int(sum[0])<<16|int(sum[1])<<8|int(sum[2]))%10_000_000)
	default:
		value = name
	}
	return schemas.Requester{Name: "Ada " + name, Identities: []schemas.Identity{{Kind: kind, Value: value, Evidence: schemas.Attested}}}
}

// ticket returns a ticket of its own person; the same name is the same ticket.
func ticket(name string, kind schemas.IdentityKind) schemas.Ticket {
	return schemas.Ticket{
		Key: key("t" + name), Subject: "The receiver does not bind (" + name + ")",
		Text: "My " + words + " flutter, größer als je zuvor 🛩 <b>&", Requester: person(name, kind),
		Priority: schemas.PriorityHigh, Tags: []string{"model aircraft"}, Channel: "shop-form", Kind: "form",
		ReceivedAt: time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC), Message: "m" + name,
	}
}

func comment(name string, who schemas.Author, v schemas.Visibility) schemas.Comment {
	return schemas.Comment{
		Key: key("c" + name), Author: who, Visibility: v, Text: "Again the " + words + ": " + name,
		At: time.Date(2026, 11, 20, 9, 45, 0, 0, time.UTC),
	}
}

func by(r schemas.Requester) schemas.Author {
	return schemas.Author{Role: schemas.ByRequester, Name: r.Name, Requester: &r}
}

func file(name string) schemas.File {
	content := "the wing of " + name
	return schemas.File{
		Key: key("f" + name), Name: name + ".txt", Type: "text/plain", Size: int64(len(content)),
		SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content))),
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// unknown says that err leaves it open whether a write was done, as a lost
// answer must.
func unknown(err error) error {
	switch {
	case fault.IsPermanent(err):
		return fmt.Errorf("got a permanent fault, want a plain one: %w", err)
	case fault.IsAuth(err):
		return fmt.Errorf("got refused credentials, want a plain fault: %w", err)
	case fault.IsNotDone(err):
		return fmt.Errorf("got not done, want unknown: %w", err)
	}
	return nil
}

// events is a fake that tells what it would have sent to a webhook.
type events interface{ Events() []hook.Delivery }

// got makes an error that is missing printable.
func got(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
