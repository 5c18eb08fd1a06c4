package intake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"switchboard/adapter/hook"
	"switchboard/internal/record"
	"switchboard/internal/telemetry"
	"switchboard/schemas"
)

// receive takes one request in and returns what the vendor hears. A vendor hears
// a yes only when the delivery is durable.
func (in *Intake) receive(r *http.Request, s *source, started time.Time) hook.Answer {
	if s.limits != nil && r.Method == http.MethodPost && !s.limits.allow(in.address(r), started) {
		in.o.Metrics.Refused(s.name, telemetry.TooMany)
		a := hook.Text(http.StatusTooManyRequests, "text/plain; charset=utf-8", "too many messages from this address, please wait a minute\n")
		a.Header.Set("Retry-After", "60")
		return a
	}
	d, answer, ok := in.read(r, s, started)
	if !ok {
		return answer
	}
	if err := s.webhook.Verify(r.Context(), d); err != nil {
		return in.refuse(s, err)
	}
	answer = s.webhook.Answer(d)
	if answer.Wake {
		in.Wake(s.name)
	}
	if answer.Drop || answer.Wake {
		return answer
	}
	trace := telemetry.ContinueTrace(r.Header.Get("Traceparent")).String()
	// The vendor may hang up; what is half stored is stored all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeWithin)
	defer cancel()
	if err := in.keep(ctx, s, d, trace); err != nil {
		in.o.Metrics.Refused(s.name, telemetry.Full)
		in.o.Log.Warn("delivery was not stored", "channel", s.name, "err", err)
		return unavailable()
	}
	in.o.Metrics.Accepted(s.name, time.Since(started))
	return answer
}

// storeWithin bounds the wait for the broker; vendors give up after 3 to 15 s.
const storeWithin = 10 * time.Second

func (in *Intake) read(r *http.Request, s *source, started time.Time) (hook.Delivery, hook.Answer, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, s.maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		in.o.Metrics.Refused(s.name, telemetry.TooLarge)
		in.tooLarge(r, s, started)
		return hook.Delivery{}, hook.Text(http.StatusRequestEntityTooLarge, "text/plain; charset=utf-8",
			"larger than "+strconv.FormatInt(s.maxBody, 10)+" bytes\n"), false
	}
	if err != nil {
		in.o.Metrics.Refused(s.name, telemetry.Unreadable)
		return hook.Delivery{}, hook.Text(http.StatusBadRequest, "text/plain; charset=utf-8", "the body ended early\n"), false
	}
	return hook.Delivery{
		Method: r.Method, URL: in.publicURL(r), Header: r.Header, Body: body,
		Via: hook.ViaWebhook, ReceivedAt: started.UTC(),
	}, hook.Answer{}, true
}

// publicURL is the address as the vendor called it.
func (in *Intake) publicURL(r *http.Request) string {
	u := *r.URL
	if in.public != nil {
		u.Scheme, u.Host = in.public.Scheme, in.public.Host
		return u.String()
	}
	u.Scheme, u.Host = "http", r.Host
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

func (in *Intake) tooLarge(r *http.Request, s *source, at time.Time) {
	e, err := record.Event(schemas.EventRefused, "", record.Digest("too large", s.name, at.String()), at, schemas.DeliveryEnded{
		Channel: s.name, Reason: "larger than " + strconv.FormatInt(s.maxBody, 10) + " bytes", At: at.UTC(),
	})
	if err == nil {
		_, err = in.o.Bus.Publish(context.WithoutCancel(r.Context()), e)
	}
	if err != nil {
		in.o.Log.Warn("refusal was not recorded", "channel", s.name, "err", err)
	}
}

func (in *Intake) refuse(s *source, err error) hook.Answer {
	if !errors.Is(err, hook.ErrUnverified) {
		// What verification needs cannot be reached: the vendor may try again.
		in.o.Log.Warn("delivery could not be verified", "channel", s.name, "err", err)
		in.o.Metrics.Refused(s.name, telemetry.Full)
		return unavailable()
	}
	in.o.Metrics.Refused(s.name, telemetry.Unverified)
	if refused, ok := errors.AsType[*hook.Refused](err); ok {
		return refused.Answer
	}
	return hook.Text(s.refuse, "text/plain; charset=utf-8", "not verified\n")
}
