package bus

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestOpenRefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir, OS)
	_, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use by another switchboard") || !strings.Contains(err.Error(), dir) {
		t.Errorf("second open: got %v", err)
	}
	publish(t, b, "jobs.desk.c1") // the first is unharmed
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir, OS)
	shut(t, b)
	if info, err := b.Info(t.Context(), Jobs); err != nil || info.Messages != 1 {
		t.Errorf("after opening anew: got %+v, %v; want one message", info, err)
	}
}

func TestOpenExplainsABadConfiguration(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, conf, want string }{
		{"typo", "max_control_linee: 1MB\n", "nats.config"},
		{"broken", "cluster {\n  name: \"x\n", "nats.config"},
		{"credentials", "authorization { user: a, password: b }\n", "leave authorization out of nats.config"},
		{"token", "authorization { token: t }\n", "leave authorization out of nats.config"},
		{"accounts", "accounts { A { jetstream: enabled, users: [ { user: a, password: b } ] } }\n", "leave authorization out of nats.config"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			conf := filepath.Join(dir, "nats.conf")
			if err := os.WriteFile(conf, []byte(tt.conf), 0o600); err != nil {
				t.Fatal(err)
			}
			data := filepath.Join(dir, "data")
			_, err := Open(t.Context(), Options{Dir: data, NATSConfig: conf, Log: slog.New(slog.DiscardHandler), Reserve: 1 << 20})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want words about %q", err, tt.want)
			}
			b := open(t, data, OS) // the failed one has let go of the lock
			shut(t, b)
		})
	}
	_, err := Open(t.Context(), Options{Dir: t.TempDir(), NATSConfig: "missing.conf", Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "missing.conf") {
		t.Errorf("a missing file: got %v", err)
	}
}

func TestOpenTakesTheListenerOfTheConfiguration(t *testing.T) {
	t.Parallel()
	conf := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(conf, []byte("listen: \"127.0.0.1:-1\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Options{Dir: t.TempDir(), NATSConfig: conf, Log: slog.New(slog.DiscardHandler), Reserve: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	nc, err := nats.Connect(b.server.ClientURL())
	if err != nil {
		t.Fatalf("the listener that was asked for: %v", err)
	}
	nc.Close()
	quiet := open(t, t.TempDir(), OS)
	shut(t, quiet)
	if quiet.server.Addr() != nil {
		t.Errorf("without nats.conf the broker listens on %v", quiet.server.Addr())
	}
}

func TestOpenReportsWhatTheSystemRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(file, "x"), Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "make data directory") {
		t.Errorf("a file in the way: got %v", err)
	}
	broken := errors.New("no such device")
	_, err := Open(t.Context(), Options{
		Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), FreeSpace: func(string) (int64, error) { return 0, broken },
	})
	if !errors.Is(err, broken) {
		t.Errorf("free space that cannot be measured: got %v", err)
	}
}

func TestFullDiskRefusesAndRecoversByItself(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 30)
	measured := make(chan struct{})
	b, err := Open(t.Context(), Options{
		Dir: t.TempDir(), Durability: OS, Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler),
		FreeSpace: func(string) (int64, error) {
			select {
			case measured <- struct{}{}:
			default:
			}
			return free.Load(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	if err := b.Ready(); err != nil {
		t.Fatalf("at first: %v", err)
	}
	free.Store(1<<20 - 1)
	eventually(t, "the bus notices the full disk", func() bool { return errors.Is(b.Ready(), ErrFull) })
	if _, err := b.Publish(t.Context(), Record{Subject: "deliveries.in.form"}); !errors.Is(err, ErrFull) {
		t.Errorf("a delivery on a full disk: got %v, want ErrFull", err)
	}
	if err := b.PutBlob(t.Context(), "raw/x", []byte("x")); !errors.Is(err, ErrFull) {
		t.Errorf("a blob on a full disk: got %v, want ErrFull", err)
	}
	publish(t, b, "jobs.desk.c1", "events.c1") // what was accepted goes on within the reserve
	if info, err := b.Info(t.Context(), Deliveries); err != nil || info.Messages != 0 {
		t.Errorf("something was kept: %+v, %v", info, err)
	}
	if b.Broken() {
		t.Error("a full disk counts as a broken broker")
	}
	b.broken.Store(brokenAfter) // what a write met while the disk was full
	free.Store(1 << 20)
	within(t, "the disk is measured again", measured)
	eventually(t, "the bus takes deliveries again", func() bool { return b.Ready() == nil })
	publish(t, b, "deliveries.in.form")
}

func TestStoreLimitAnswersErrFull(t *testing.T) {
	t.Parallel()
	b, err := Open(t.Context(), Options{Dir: t.TempDir(), Durability: OS, MaxStore: 1 << 20, Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, b)
	if _, limit := b.Store(); limit != 1<<20 {
		t.Fatalf("limit: got %d, want the setting", limit)
	}
	data := make([]byte, 100<<10)
	stored := 0
	for range 20 {
		_, err = b.Publish(t.Context(), Record{Subject: "jobs.desk.c1", Data: data})
		if err != nil {
			break
		}
		stored++
	}
	if !errors.Is(err, ErrFull) || stored == 0 {
		t.Fatalf("after %d records of 100 KiB in 1 MiB: got %v, want ErrFull", stored, err)
	}
	if _, err := b.Bucket(Links).Create(t.Context(), "c.desk.c1", data); !errors.Is(err, ErrFull) {
		t.Errorf("a key: got %v, want ErrFull", err)
	}
	if err := b.PutBlob(t.Context(), "a/b", make([]byte, 1<<20)); !errors.Is(err, ErrFull) {
		t.Errorf("a blob: got %v, want ErrFull", err)
	}
	if b.Broken() {
		t.Error("a full store counts as broken: it would be opened anew for nothing")
	}
	if err := b.Purge(t.Context(), Jobs, "jobs.>"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Publish(t.Context(), Record{Subject: "jobs.desk.c1", Data: data}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestStoreLimitStaysBelowTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "held"), make([]byte, 3000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name                 string
		free, reserve, limit int64
		want                 int64
	}{
		{"the disk", 10 << 20, 2 << 20, 0, 9<<20 + 3000},
		{"the setting", 10 << 20, 2 << 20, 4 << 20, 4 << 20},
		{"a setting beyond the disk", 10 << 20, 2 << 20, 1 << 40, 9<<20 + 3000},
		{"next to nothing", 0, 512 << 20, 0, 1 << 20},
	} {
		b := &Bus{opts: Options{Reserve: tt.reserve, MaxStore: tt.limit, FreeSpace: func(string) (int64, error) { return tt.free, nil }}}
		if got, err := b.storeLimit(dir); err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v; want %d", tt.name, got, err, tt.want)
		}
	}
}

func TestBrokenAfterWritesWithoutAnswer(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), OS)
	shut(t, b)
	for range brokenAfter - 1 {
		_ = b.judge(nats.ErrTimeout)
	}
	if b.Broken() || b.Ready() != nil {
		t.Error("broken too early")
	}
	if err := b.judge(jetstream.ErrAsyncPublishTimeout); !errors.Is(err, ErrUnknown) {
		t.Errorf("no answer: got %v, want ErrUnknown", err)
	}
	if err := b.Ready(); !b.Broken() || !errors.Is(err, ErrUnknown) {
		t.Errorf("after %d writes without an answer: broken %v, ready %v", brokenAfter, b.Broken(), err)
	}
	conflict := &jetstream.APIError{ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}
	if err := b.judge(conflict); !errors.Is(err, ErrConflict) || b.Broken() {
		t.Errorf("a conflict is an answer: got %v, broken %v", err, b.Broken())
	}
	if _ = b.judge(&jetstream.APIError{ErrorCode: 10077, Description: "write error"}); !b.Broken() {
		t.Error("a store that cannot write is not broken")
	}
	if _ = b.judge(nil); b.Broken() {
		t.Error("a stored write does not end it")
	}
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	odd := errors.New("odd")
	for _, tt := range []struct{ in, want error }{
		{nil, nil},
		{nats.ErrTimeout, ErrUnknown},
		{nats.ErrDisconnected, ErrUnknown},
		{nats.ErrConnectionClosed, ErrClosed},
		{jetstream.ErrMsgNotFound, ErrNotFound},
		{jetstream.ErrObjectNotFound, ErrNotFound},
		{&jetstream.APIError{ErrorCode: 10164}, ErrConflict},
		{&jetstream.APIError{ErrorCode: 10023}, ErrFull},
		{&jetstream.APIError{ErrorCode: 10047}, ErrFull},
		{odd, odd},
	} {
		if got := translate(tt.in); !errors.Is(got, tt.want) {
			t.Errorf("translate(%v): got %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, d := range []Durability{OS, Disk} {
		b := open(t, t.TempDir(), d)
		if !b.Embedded() {
			t.Error("an embedded broker says that it is none")
		}
		answers := make(chan error)
		for range 20 {
			go func() {
				for {
					if _, err := b.Publish(t.Context(), Record{Subject: "jobs.desk.c1"}); err != nil {
						answers <- err
						return
					}
				}
			}()
		}
		eventually(t, "writes flow", func() bool {
			info, err := b.Info(t.Context(), Jobs)
			return err == nil && info.Messages > 100
		})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			if err := within(t, "a publisher hears of the end", answers); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: a publish while closing: got %v, want ErrClosed", d, err)
			}
		}
		if _, err := b.Bucket(Links).Put(t.Context(), "k", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("%s: a write afterwards: got %v, want ErrClosed", d, err)
		}
		if err := b.Ready(); err == nil {
			t.Errorf("%s: a closed bus is ready", d)
		}
	}
}
