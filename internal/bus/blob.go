package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// PutBlob stores data under name, replacing what was there. It returns nil only
// when the blob is durable.
func (b *Bus) PutBlob(ctx context.Context, name string, data []byte) error {
	if b.full.Load() {
		return ErrFull
	}
	if err := b.fault("blobs/" + name); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	if _, err := b.blobs.Put(ctx, jetstream.ObjectMeta{Name: name}, bytes.NewReader(data)); err != nil {
		return fmt.Errorf("store blob: %w", b.judge(err))
	}
	return nil
}

// Blob opens a blob, or answers ErrNotFound. The caller closes it.
func (b *Bus) Blob(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := b.blobs.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read blob: %w", translate(err))
	}
	return r, nil
}

// ReadBlob returns a whole blob.
func (b *Bus) ReadBlob(ctx context.Context, name string) ([]byte, error) {
	data, err := b.blobs.GetBytes(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read blob: %w", translate(err))
	}
	return data, nil
}

// DeleteBlob removes a blob. One that is not there is no error.
func (b *Bus) DeleteBlob(ctx context.Context, name string) error {
	if err := b.fault("blobs/" + name); err != nil {
		return fmt.Errorf("delete blob: %w", err)
	}
	err := translate(b.blobs.Delete(ctx, name))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("delete blob: %w", err)
	}
	return nil
}

// BlobNames lists the blobs whose names begin with prefix.
func (b *Bus) BlobNames(ctx context.Context, prefix string) ([]string, error) {
	list, err := b.blobs.List(ctx)
	if errors.Is(err, jetstream.ErrNoObjectsFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blobs: %w", translate(err))
	}
	var names []string
	for _, info := range list {
		if strings.HasPrefix(info.Name, prefix) {
			names = append(names, info.Name)
		}
	}
	return names, nil
}
