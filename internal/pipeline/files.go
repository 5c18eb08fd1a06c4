package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
	"switchboard/internal/bus"
	"switchboard/internal/record"
	"switchboard/schemas"
)

// Limits of files.
const (
	// mediaPatience is how long a file may take to be had, from the delivery on;
	// afterwards the message goes on and says which file is missing.
	mediaPatience = 5 * time.Minute
	// mediaCall bounds one attempt.
	mediaCall = time.Minute
	// maxFiles is how many files of one message are kept.
	maxFiles = 50
)

// keepFiles puts every attachment into the blob store under its content's hash.
// A file that is to be had only later makes the whole delivery wait in its lane.
func (r *run) keepFiles(ctx context.Context, m *bus.Msg, msg *schemas.Message, conv string) error {
	for i := range msg.Attachments {
		a := &msg.Attachments[i]
		if i >= maxFiles {
			a.Data, a.Missing = nil, fmt.Sprintf("only the first %d files of a message are kept", maxFiles)
			continue
		}
		data, err := r.content(ctx, a)
		if errors.Is(err, bus.ErrFull) {
			return err
		}
		if err != nil {
			if !fault.IsPermanent(err) && time.Since(m.At) < mediaPatience {
				return fmt.Errorf("fetch attachment: %w", err)
			}
			a.Data, a.Missing = nil, "could not be fetched: "+err.Error()
			continue
		}
		if data == nil {
			continue
		}
		sum := sha256.Sum256(data)
		a.SHA256, a.Size, a.Data = hex.EncodeToString(sum[:]), int64(len(data)), nil
		if a.Type == "" || a.Type == "application/octet-stream" {
			a.Type = http.DetectContentType(data)
		}
		a.Blob = conv + "/" + msg.ID + "/" + a.SHA256
		if err := r.p.o.Bus.PutBlob(ctx, a.Blob, data); err != nil {
			return err
		}
	}
	return nil
}

// content returns the bytes of an attachment, nil when it is known to be missing.
func (r *run) content(ctx context.Context, a *schemas.Attachment) ([]byte, error) {
	limit := r.c.Traits.MaxFile
	switch {
	case a.Missing != "":
		return nil, nil
	case a.Data != nil && int64(len(a.Data)) > limit, a.Size > limit:
		return nil, fault.Permanentf("larger than %d bytes", limit)
	case a.Data != nil:
		return a.Data, nil
	case a.Ref == "":
		a.Missing = "the vendor sent no content"
		return nil, nil
	case r.c.Fetcher == nil:
		return nil, fault.Permanentf("channel %s cannot fetch files", r.c.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, mediaCall)
	defer cancel()
	body, err := r.c.Fetcher.Fetch(ctx, a.Ref)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fault.Permanentf("larger than %d bytes", limit)
	}
	if len(data) == 0 {
		data = []byte{}
	}
	return data, nil
}

// tooOld reports whether a delivery is from before anything is remembered, so
// that a repeat cannot be told.
func (r *run) tooOld(sent time.Time, received time.Time) bool {
	return r.p.o.Horizon > 24*time.Hour && !sent.IsZero() && received.Sub(sent) > r.p.o.Horizon-24*time.Hour
}

// letterTooOld is the dead letter of a message that is older than the horizon.
func (r *run) letterTooOld(ctx context.Context, m *bus.Msg, d hook.Delivery, msg schemas.Message, conv string) error {
	const reason = "too old to tell from a repeat"
	letter := record.Letter{
		Schema: schemas.Version, ID: record.LetterID(record.StagePipeline, r.c.Name, msg.ID, 1), Stage: record.StagePipeline,
		Place: r.c.Name, Conv: conv, Message: msg.ID, Delivery: m.Seq, Version: 1, Reason: reason,
		At: time.Now().UTC(), Header: m.Header, Body: m.Data,
	}
	if err := r.copyBody(ctx, m, d, &letter); err != nil {
		return err
	}
	dead, err := letter.Encode()
	if err != nil {
		return err
	}
	if _, err := r.p.o.Bus.Publish(ctx, dead); err != nil {
		return err
	}
	r.p.o.Metrics.Dead(record.StagePipeline)
	return r.publish(ctx, schemas.EventDeadDelivery, conv, record.Digest("too old", msg.ID), schemas.DeliveryEnded{
		Delivery: m.Seq, Channel: r.c.Name, Reason: reason, Dead: letter.ID, At: m.At.UTC(),
	})
}
