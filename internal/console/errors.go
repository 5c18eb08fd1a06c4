package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"switchboard/internal/ledger"
)

// A refusal is an error that a visitor can do something about.
type refusal struct {
	status int
	// title, words and next are what happened, what it means, what to do.
	title, words, next string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("refused with %d: %s", r.status, strings.ToLower(r.title))
}

// errorView is the page of an error.
type errorView struct {
	shell
	Words, Next string
	// Code finds the error in the log, "" where it was the visitor's.
	Code string
}

func badForm(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &refusal{status: http.StatusRequestEntityTooLarge, title: "Too much text", words: "The form was larger than 256 KB, so nothing was done.", next: "Go back and shorten it."}
	}
	return &refusal{status: http.StatusBadRequest, title: "The form could not be read", words: "Nothing was done.", next: "Go back and send it again."}
}

// fail turns an error into an answer: what the visitor sees and what is logged.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, v *visitor, err error) {
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return // the browser went away
	}
	status, view := http.StatusInternalServerError, &errorView{shell: bare("This page could not be drawn")}
	if ref, ok := errors.AsType[*refusal](err); ok {
		status, view.Title, view.Words, view.Next = ref.status, ref.title, ref.words, ref.next
	} else if errors.Is(err, ErrNotFound) || errors.Is(err, ledger.ErrNotFound) {
		status, view.Title = http.StatusNotFound, "Nothing here"
		view.Words = "There is no such page, message or ticket, or it has been forgotten."
		view.Next = "Search for it by its words, its sender or its number."
	} else {
		view.Code = "err-" + strings.ToLower(newToken()[:6])
		view.Words = "Messages still flow; only the console is affected."
		c.opts.Log.Error("console page not drawn", "code", view.Code, "method", r.Method, "page", r.Pattern, "err", err)
	}
	if v.Role != "" {
		// The frame is a convenience; without it the page still says what happened.
		if s, err := c.shell(r, v, "", view.Title); err == nil {
			view.shell = s
		}
	}
	if err := c.render(w, status, "error", view); err != nil {
		c.opts.Log.Error("console error page not drawn", "err", err)
		http.Error(w, view.Title, status)
	}
}

func (c *Console) unknown(http.ResponseWriter, *http.Request, *visitor) error { return ErrNotFound }
