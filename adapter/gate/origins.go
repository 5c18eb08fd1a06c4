package gate

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"switchboard/adapter/hook"
)

// Origins are the sites, such as https://shop.example, whose pages may post here
// besides our own.
type Origins []string

// Check names every entry that is not an origin; nil if all are.
func (o Origins) Check() []error {
	var errs []error
	for _, one := range o {
		if Origin(one) != one {
			errs = append(errs, fmt.Errorf("origins: %q is not like https://shop.example", one))
		}
	}
	return errs
}

// Trust reports whether the page that sent d, if a page did, may post to public.
// The browser's own word counts beside ours, for we may not know our address.
func (o Origins) Trust(d hook.Delivery, public string) bool {
	from := d.Header.Get("Origin")
	return from == "" || from == Origin(public) || from == Origin(d.URL) || slices.Contains(o, from) ||
		d.Header.Get("Sec-Fetch-Site") == "same-origin"
}

// Allow lets the page that sent d read the answer if its site is listed. a has a
// header.
func (o Origins) Allow(d hook.Delivery, a hook.Answer) hook.Answer {
	a.Header.Set("Vary", "Origin")
	if from := d.Header.Get("Origin"); slices.Contains(o, from) {
		a.Header.Set("Access-Control-Allow-Origin", from)
	}
	return a
}

// Preflight answers a browser that asks whether a page may post here.
func (o Origins) Preflight(d hook.Delivery) hook.Answer {
	return o.Allow(d, hook.Answer{Status: http.StatusNoContent, Drop: true, Header: http.Header{
		"Access-Control-Allow-Methods": {"POST"}, "Access-Control-Allow-Headers": {"Content-Type, Idempotency-Key"},
	}})
}

// Origin returns scheme and host of an address, "" if it is not one of the web.
func Origin(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
