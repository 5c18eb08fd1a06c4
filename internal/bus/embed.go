package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func (b *Bus) connect() error {
	options := []nats.Option{
		nats.Name("switchboard"), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Warn("broker connection reports an error", "err", err)
		}),
	}
	url := b.opts.URL
	if url == "" {
		if err := b.embed(); err != nil {
			return err
		}
		options = append(options, nats.InProcessServer(b.server))
	} else if len(b.opts.CredentialsData) > 0 {
		options = append(options, nats.UserCredentialBytes(b.opts.CredentialsData))
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	b.nc = nc
	b.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(answerWithin))
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	return nil
}

// embed locks the directory and starts the broker in it, without a listener
// unless nats.conf asks for one.
func (b *Bus) embed() error {
	if err := os.MkdirAll(b.opts.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock := flock.New(filepath.Join(b.opts.Dir, "lock"))
	held, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	if !held {
		return fmt.Errorf("data directory %s is in use by another switchboard: stop it, or choose another with --data", b.opts.Dir)
	}
	b.lock = lock
	o := &server.Options{DontListen: true, NoSigs: true, NoLog: true}
	if b.opts.NATSConfig != "" {
		o = &server.Options{}
		if err := o.ProcessConfigFile(b.opts.NATSConfig); err != nil {
			return fmt.Errorf("read nats.config: %w", err)
		}
		if asksCredentials(o) {
			return errors.New("read nats.config: it asks for credentials, which the connection from inside has none of; leave authorization out of nats.config, or set no_auth_user")
		}
		o.NoSigs = true
		if o.Host == "" && o.Port == 0 {
			o.DontListen = true
		}
	}
	o.ServerName = "switchboard"
	o.JetStream = true
	o.StoreDir = filepath.Join(b.opts.Dir, "broker")
	o.SyncAlways = b.opts.Durability == Disk
	o.MaxPayload = 8 << 20
	if o.JetStreamMaxStore, err = b.storeLimit(o.StoreDir); err != nil {
		return err
	}
	o.JetStreamMaxMemory = 64 << 20
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("start the embedded broker: %w", err)
	}
	b.server = s
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		return errors.New("start the embedded broker: not ready after 30 s; is a port of nats.config taken?")
	}
	if !s.JetStreamEnabled() {
		return fmt.Errorf("start the embedded broker: its store in %s cannot be opened", o.StoreDir)
	}
	return nil
}

// asksCredentials reports whether a connection without credentials is refused;
// the connection from inside would hear of it only after ten seconds.
func asksCredentials(o *server.Options) bool {
	some := o.Username != "" || o.Authorization != "" || len(o.Users) > 0 || len(o.Nkeys) > 0 || len(o.TrustedOperators) > 0
	return some && o.NoAuthUser == ""
}

// storeLimit is what the store may hold: the setting, and never more than what
// is there already plus what the disk has free less half the reserve.
func (b *Bus) storeLimit(dir string) (int64, error) {
	free, err := b.opts.FreeSpace(b.opts.Dir)
	if err != nil {
		return 0, fmt.Errorf("measure free disk space: %w", err)
	}
	limit := max(dirSize(dir)+free-b.opts.Reserve/2, 1<<20)
	if b.opts.MaxStore > 0 {
		limit = min(limit, b.opts.MaxStore)
	}
	return limit, nil
}

// Store returns how many bytes the embedded store holds and may hold; zeros with
// an external broker.
func (b *Bus) Store() (used, limit int64) {
	if b.server == nil {
		return 0, 0
	}
	info, err := b.server.Jsz(nil)
	if err != nil {
		return 0, 0
	}
	return int64(info.Store), info.Config.MaxStore //nolint:gosec // sizes of a disk
}

// watchDisk refuses writes while the disk has less than the reserve free, before
// the broker meets a full disk, from which it would not recover.
func (b *Bus) watchDisk(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		b.measureDisk()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *Bus) measureDisk() {
	free, err := b.opts.FreeSpace(b.opts.Dir)
	if err != nil {
		b.log.Warn("free disk space cannot be measured", "err", err)
		return
	}
	used, limit := b.Store()
	full := free < b.opts.Reserve || (limit > 0 && used > limit-limit/50)
	if b.full.Swap(full) != full {
		if full {
			b.log.Error("the store is full: deliveries are refused until there is room", "free", free, "used", used, "limit", limit)
		} else {
			b.log.Info("the store has room again")
			b.broken.Store(0)
		}
	}
}

func dirSize(dir string) int64 {
	var size int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error { // what cannot be read counts nothing
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}
