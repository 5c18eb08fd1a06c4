package bus

import (
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Publisher is a Watermill publisher over Publish: the topic is the subject,
// metadata become headers, and all messages of a call are under way before the
// first answer is awaited. It is safe for concurrent use.
type Publisher struct{ b *Bus }

var _ message.Publisher = Publisher{}

// Publisher returns the bus as a Watermill publisher.
func (b *Bus) Publisher() Publisher { return Publisher{b: b} }

// Publish stores messages durably, or says which were not; the context of each
// message bounds its wait only.
func (p Publisher) Publish(topic string, messages ...*message.Message) error {
	stream, err := streamOf(topic)
	if err != nil {
		return err
	}
	pending := make([]*pendingWrite, len(messages))
	for i, m := range messages {
		pending[i] = p.b.submit(stream, Record{Subject: topic, Header: m.Metadata, Data: m.Payload}, noExpectation)
	}
	var errs []error
	for i, w := range pending {
		if _, err := w.wait(messages[i].Context()); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close does nothing: the Router closes the publisher of a handler that stops,
// and the connection belongs to the Bus.
func (Publisher) Close() error { return nil }
