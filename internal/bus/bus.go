// Package bus is the durable ground under everything: NATS JetStream, embedded
// or remote, and Watermill's Router over it.
//
// It offers streams (Publish, Reader, Scan), buckets with compare-and-swap,
// blobs and leases, by the rules of docs/protocol.md §1 to §3: a publish that
// returned nil is durable, order is the stream's sequence, readers resume from
// checkpoints of their own, and no consumer acknowledgement is relied on.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams.
const (
	Deliveries = "DELIVERIES"
	Jobs       = "JOBS"
	Replies    = "REPLIES"
	Events     = "EVENTS"
	Dead       = "DEAD"
	Timers     = "TIMERS"
)

// Names of the buckets.
const (
	Messages = "messages"
	Links    = "links"
	Cursors  = "cursors"
	Vault    = "vault"
	Accounts = "accounts"
)

// Durability says when a write counts as done.
type Durability string

// Durabilities. Disk: written and fsynced. OS: handed to the operating system,
// which survives the process but not the power. With an external broker its own
// replicas decide and the setting is not used.
const (
	Disk Durability = "disk"
	OS   Durability = "os"
)

// What a write or a read can answer.
var (
	// ErrFull says that the store has reached its limit, or the disk its reserve.
	ErrFull = errors.New("the store is full")
	// ErrUnknown says that no answer came: the record may be there.
	ErrUnknown = errors.New("the broker did not answer in time")
	// ErrConflict says that a key was not at the expected revision.
	ErrConflict = errors.New("the record was changed meanwhile")
	// ErrNotFound says that there is no such key, record or blob.
	ErrNotFound = errors.New("not found")
	// ErrClosed says that the bus is closing.
	ErrClosed = errors.New("the bus is closed")
)

// Options say how to open a Bus.
type Options struct {
	// Dir holds the embedded broker's store; it is locked. Empty with URL.
	Dir string
	// URL reaches an external cluster, with the content of a .creds file.
	URL             string
	CredentialsData []byte
	// Replicas of every stream on an external cluster; 0 means 1.
	Replicas int
	// Durability of the embedded broker; "" means Disk.
	Durability Durability
	// NATSConfig is a nats.conf for the embedded broker, "" for none.
	NATSConfig string
	// MaxStore bounds the embedded store in bytes; 0 means what the disk has free,
	// less Reserve.
	MaxStore int64
	// Reserve is how much disk stays free, in bytes; 0 means 512 MiB.
	Reserve int64
	// FreeSpace returns the free bytes of the disk below Dir; nil asks the system.
	FreeSpace func(dir string) (int64, error)
	// Log receives what the broker's owner should know.
	Log *slog.Logger
	// Batch is told the size of every group that was committed; may be nil.
	Batch func(size int)
	// Fault, if not nil, is asked before every write to a stream, a bucket or the
	// blobs, and before every removal; its error is the answer, and nothing is
	// stored or removed. Crashes are rehearsed with it.
	Fault func(subject string) error
}

// A Bus is an open connection to the broker, embedded or remote. It is safe for
// concurrent use.
type Bus struct {
	opts   Options
	log    *slog.Logger
	server *server.Server
	lock   interface{ Unlock() error }
	nc     *nats.Conn
	js     jetstream.JetStream

	streams    map[string]jetstream.Stream
	committers map[string]*committer
	acks       *acks
	blobs      jetstream.ObjectStore
	recent     map[string]*recent // by stream; empty where others may write, too
	views      map[string]view    // by stream; empty with an external broker

	owner  string
	times  leaseTimes
	full   atomic.Bool
	broken atomic.Int32
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// answerWithin bounds the wait for one answer of the broker.
const answerWithin = 10 * time.Second

// Open starts or reaches the broker and makes sure that every stream and bucket
// is there. A data directory that another process holds is an error that says
// so. Close must be called.
func Open(ctx context.Context, o Options) (*Bus, error) {
	if o.Durability == "" {
		o.Durability = Disk
	}
	if o.Reserve == 0 {
		o.Reserve = 512 << 20
	}
	if o.FreeSpace == nil {
		o.FreeSpace = freeSpace
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	b := &Bus{
		opts: o, log: o.Log, owner: nats.NewInbox()[len("_INBOX."):], times: leaseTimes{renew: time.Second, start: 4 * time.Second, lapse: 10 * time.Second},
		streams: map[string]jetstream.Stream{}, committers: map[string]*committer{},
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	if err := b.connect(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if b.server != nil && o.NATSConfig == "" {
		b.recent = newRecents()
	}
	if err := b.openAcks(life); err != nil {
		return nil, errors.Join(fmt.Errorf("listen for answers: %w", err), b.Close())
	}
	if err := b.ensure(ctx, life); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if b.server != nil {
		if err := b.openViews(ctx); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.wg.Go(func() { b.watchDisk(life) })
	}
	return b, nil
}

// Embedded reports whether the broker runs in this process, so that nobody else
// can own anything.
func (b *Bus) Embedded() bool { return b.server != nil }

// Ready returns nil while writes can succeed, and otherwise why not.
func (b *Bus) Ready() error {
	switch {
	case b.full.Load():
		return ErrFull
	case b.broken.Load() >= brokenAfter:
		return fmt.Errorf("the broker does not store: %w", ErrUnknown)
	case !b.nc.IsConnected():
		return errors.New("the broker cannot be reached")
	default:
		return nil
	}
}

// Broken reports whether an embedded broker has stopped storing although the
// disk has room, as it does after it has once met a full disk: it has to be
// opened anew.
func (b *Bus) Broken() bool {
	return b.server != nil && b.broken.Load() >= brokenAfter && !b.full.Load()
}

// brokenAfter is how many writes in a row go without an answer before the broker
// counts as broken.
const brokenAfter = 3

// Close ends the connection and stops an embedded broker. Readers must have been
// stopped before; publishes under way fail with ErrClosed.
func (b *Bus) Close() error {
	b.stop()
	for _, c := range b.committers {
		c.close()
	}
	b.wg.Wait()
	for _, v := range b.views {
		v.nc.Close()
	}
	if b.nc != nil {
		b.nc.Close()
	}
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	if b.lock != nil {
		return b.lock.Unlock()
	}
	return nil
}

// bucketStream is the stream below a bucket.
func bucketStream(bucket string) string { return "KV_" + bucket }

func (b *Bus) ensure(ctx, life context.Context) error {
	streams := []jetstream.StreamConfig{
		{Name: Deliveries, Subjects: []string{"deliveries.>"}},
		{Name: Jobs, Subjects: []string{"jobs.>"}},
		{Name: Replies, Subjects: []string{"replies.>"}},
		{Name: Events, Subjects: []string{"events.>"}},
		{Name: Dead, Subjects: []string{"dead.>"}},
		{Name: Timers, Subjects: []string{"timer.>", "due.>"}, AllowMsgSchedules: true},
	}
	for _, bucket := range []string{Messages, Links, Cursors, Vault, Accounts} {
		streams = append(streams, jetstream.StreamConfig{
			Name: bucketStream(bucket), Subjects: []string{"$KV." + bucket + ".>"},
			MaxMsgsPerSubject: 1, AllowRollup: true,
		})
	}
	for _, cfg := range streams {
		cfg.Replicas = b.opts.Replicas
		cfg.Discard = jetstream.DiscardNew
		if cfg.AllowMsgSchedules {
			cfg.Discard = jetstream.DiscardOld // the only one that schedules allow; there is no limit to discard by
		}
		cfg.AllowAtomicPublish = true
		// Any replica may answer a direct read, perhaps with an old record: only an
		// embedded broker, which has one, may.
		cfg.AllowDirect = b.server != nil
		s, err := b.js.CreateOrUpdateStream(ctx, cfg)
		if err != nil {
			return fmt.Errorf("prepare stream %s: %w", cfg.Name, translate(err))
		}
		b.streams[cfg.Name] = s
		b.committers[cfg.Name] = newCommitter(life, b, cfg.Name)
	}
	blobs, err := b.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "blobs", Replicas: b.opts.Replicas})
	if err != nil {
		return fmt.Errorf("prepare blob store: %w", translate(err))
	}
	b.blobs = blobs
	return nil
}

// translate makes the broker's words ours.
func translate(err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case err == nil:
		return nil
	case ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, ok && api.ErrorCode == 10164:
		return ErrConflict
	case ok && isFull(api):
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrObjectNotFound):
		return ErrNotFound
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, jetstream.ErrAsyncPublishTimeout),
		errors.Is(err, nats.ErrDisconnected): // the write was on its way when the connection broke
		return ErrUnknown
	case errors.Is(err, nats.ErrConnectionClosed):
		return ErrClosed
	default:
		return err
	}
}

// isFull recognises the answers to a write that would exceed a limit of the
// account (10047), the server (10023), the stream's bytes or messages (10077).
func isFull(api *jetstream.APIError) bool {
	switch api.ErrorCode {
	case 10002, 10023, 10047, 10028, 10077:
		return true
	default:
		return false
	}
}
