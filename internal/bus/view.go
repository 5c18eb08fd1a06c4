package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A view is a connection of its own for reading single records of one stream. The
// embedded broker answers a read where it takes in what the connection sends, and
// makes it wait while the stream commits: on the connection of the writes, one read
// would hold up the writes to all streams for an fsync.
type view struct {
	nc     *nats.Conn
	stream jetstream.Stream
}

// openViews opens a view of each stream that every message reads from.
func (b *Bus) openViews(ctx context.Context) error {
	b.views = map[string]view{}
	for _, name := range []string{Jobs, bucketStream(Messages), bucketStream(Links)} {
		nc, err := nats.Connect("", nats.Name("switchboard reads "+name), nats.InProcessServer(b.server), nats.MaxReconnects(-1))
		if err != nil {
			return fmt.Errorf("connect to the broker: %w", err)
		}
		js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(answerWithin))
		if err == nil {
			b.views[name] = view{nc: nc}
			var s jetstream.Stream
			if s, err = js.Stream(ctx, name); err == nil {
				b.views[name] = view{nc: nc, stream: s}
			}
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", name, translate(err))
		}
	}
	return nil
}

// view is where single records of a stream are read.
func (b *Bus) view(name string) jetstream.Stream {
	if v, ok := b.views[name]; ok {
		return v.stream
	}
	return b.streams[name]
}
