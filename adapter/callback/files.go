package callback

import (
	"fmt"
	"io"

	"switchboard/adapter/fault"
	"switchboard/schemas"
)

// A File travels inside the request with its content in base64, or says why not.
type File struct {
	Key     string `json:"key,omitempty"`
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"`
	Size    int64  `json:"size,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Data    []byte `json:"data,omitempty"`
	Omitted string `json:"omitted,omitempty"`
}

// Pack reads the files' content, in order, as far as it fits into most bytes. An
// error is the host's own store failing: nothing was sent.
func Pack(in []schemas.File, most int64) ([]File, error) {
	var out []File
	for _, f := range in {
		one := File{Key: f.Key, Name: f.Name, Type: f.Type, Size: f.Size, SHA256: f.SHA256}
		switch {
		case f.Open == nil:
			one.Omitted = "the content is not at hand"
		case f.Size > most:
			one.Omitted = "too large to travel inside the request"
		default:
			content, err := read(f, most)
			if err != nil {
				return nil, fault.NotDone(fmt.Errorf("read attachment: %w", err))
			}
			if int64(len(content)) > most {
				one.Omitted = "too large to travel inside the request"
				break
			}
			most -= int64(len(content))
			one.Data = content
		}
		out = append(out, one)
	}
	return out, nil
}

func read(f schemas.File, most int64) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(r, most+1))
}
