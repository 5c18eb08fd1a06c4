package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"switchboard/schemas"
)

// chartView is where the time of some calls went, as bars on one axis.
type chartView struct {
	// Label says the finding in words.
	Label string
	// Axis is where the grid ends, Foot where its labels stand.
	Height, Axis, Foot int
	Bars               []bar
	Ticks              []tick
}

type bar struct {
	Y, TextY       int
	X, Width, Note string
	// Class is the colour, End puts the note left of the bar.
	Class, Name, Words string
	End                bool
}

type tick struct{ X, Text string }

const (
	chartLeft  = 160.0
	chartWidth = 400.0
)

// callChart draws calls that took noticeable time; nil where there is nothing
// to compare.
func callChart(calls []schemas.Call) *chartView {
	if len(calls) < 2 || len(calls) > 12 {
		return nil
	}
	first, last := calls[0].At, calls[0].At
	slowest := calls[0]
	for _, c := range calls {
		if c.At.Before(first) {
			first = c.At
		}
		if end := c.At.Add(c.Took); end.After(last) {
			last = end
		}
		if c.Took > slowest.Took {
			slowest = c
		}
	}
	whole := last.Sub(first)
	if whole < time.Millisecond {
		return nil
	}
	v := &chartView{Height: 36 + 21*len(calls), Axis: 16 + 21*len(calls), Foot: 32 + 21*len(calls)}
	v.Label = fmt.Sprintf("Of %s, %s went to %s.", took(whole), took(slowest.Took), callWords(slowest))
	scale := chartWidth / float64(whole)
	for i, c := range calls {
		b := bar{Y: 18 + 21*i, TextY: 28 + 21*i, Class: "f1", Name: callWords(c), Words: took(c.Took)}
		if c.Outcome == "unknown" || c.Outcome == "no" {
			b.Class = "f2"
		}
		x, width := chartLeft+float64(c.At.Sub(first))*scale, max(2.5, float64(c.Took)*scale)
		note := x + width + 6
		if note > 540 && x > chartLeft+60 { // no room at the right
			note, b.End = x-6, true
		}
		b.X, b.Width, b.Note = unit(x), unit(width), unit(note)
		v.Bars = append(v.Bars, b)
	}
	for i := range 5 {
		v.Ticks = append(v.Ticks, tick{X: unit(chartLeft + chartWidth*float64(i)/4), Text: took(whole * time.Duration(i) / 4)})
	}
	v.Ticks[0].Text = "0"
	return v
}

func unit(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) }

// callWords says what a call was.
func callWords(c schemas.Call) string {
	verb := map[string]string{
		"create": "open the ticket", "append": "add a comment", "attach": "attach a file", "find": "look for the ticket",
		"thread": "look at the thread", "update": "change the ticket", "send": "send the reply",
	}[c.Op]
	if verb == "" {
		verb = strings.ReplaceAll(c.Op, "_", " ")
	}
	return verb
}

// answerWords says how a call ended, the state's colour first.
func answerWords(outcome string) answerView {
	switch outcome {
	case "yes":
		return answerView{"ok", "check", "done"}
	case "no":
		return answerView{"bad", "x", "refused"}
	case "adopted":
		return answerView{"ok", "check", "found, not done twice"}
	case "absent":
		return answerView{"dim", "skip", "not there"}
	default:
		return answerView{"warn", "wait", "no clear answer"}
	}
}

type answerView struct{ Class, Icon, Words string }
