package inbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/adapter/fault"
	"switchboard/adapter/hook"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":1,"ticket":"T-1001","by":"Mira","at":"2026-04-07T09:30:00Z","change":{"status":"open"},"comment":{"id":"1","key":"a-1","author":{"role":"agent"},"visibility":"public","text":"x"}}`))
	f.Add([]byte(`{"ticket":"T-1001"}`))
	f.Add([]byte(`{"ticket":"T-1001","comment":{}}`))
	f.Add([]byte(`[]`))
	s := &sink{}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := s.Parse(hook.Delivery{Body: body})
		again, _ := s.Parse(hook.Delivery{Body: body})
		if !cmp.Equal(got, again) {
			t.Fatal("two answers for one delivery")
		}
		if err != nil && !fault.IsPermanent(err) {
			t.Fatalf("%v: trying again cannot help", err)
		}
		if err == nil && len(got.Comments)+len(got.Tickets) == 0 && got.Ignored == "" {
			t.Fatal("nothing, and no reason")
		}
	})
}
