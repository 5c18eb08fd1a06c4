package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// script makes wrk send a message with a number of its own every time. The request
// is put together by hand, since wrk.format costs more than the server measured.
const script = `
local n = 0
local head, tail
function init(args)
  local rest = '","text":"` + "%s" + `"}'
  head = "POST /hooks/in HTTP/1.1\r\nHost: bench.example\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: "
    .. (8 + 12 + #rest) .. "\r\n\r\n" .. '{"id":"m'
  tail = rest
end
function request()
  n = n + 1
  return head .. string.format("%%012d", n) .. tail
end
`

// accept measures P1: the program's intake over its bus against a bare handler.
func (b *bench) accept() error {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		return fmt.Errorf("P1 needs wrk (Debian: apt-get install wrk): %w", err)
	}
	lua := filepath.Join(b.dir, "message.lua")
	if err := os.WriteFile(lua, fmt.Appendf(nil, script, filler, token), 0o600); err != nil {
		return err
	}
	var bare []float64
	durable, ratios := map[string][]float64{}, map[string][]float64{}
	for range b.rounds {
		p, err := self(b.ctx, "bare")
		if err != nil {
			return err
		}
		rate, _, err := b.wrk(wrk, lua, p)
		if err := errors.Join(err, p.stop()); err != nil {
			return err
		}
		bare = append(bare, rate)
		for _, durability := range []string{"os", "disk"} {
			got, err := b.acceptOnce(wrk, lua, durability)
			if err != nil {
				return err
			}
			durable[durability], ratios[durability] = append(durable[durability], got), append(ratios[durability], got/rate)
		}
	}
	for _, durability := range []string{"os", "disk"} {
		b.add(result{
			goal: "P1", what: "durable webhook accept / bare net/http, 1 KB, intake and bus alone, wrk, `" + durability + "`", threshold: "≥ 0.40",
			measured: fmt.Sprintf("%s (%.0f/s)", spread("%.2f", ratios[durability]), median(durable[durability])),
			baseline: fmt.Sprintf("%.0f/s: bare net/http, same wrk", median(bare)), met: median(ratios[durability]) >= 0.40,
		})
	}
	return nil
}

// acceptOnce runs wrk against a fresh intake and counts what is in the stream.
func (b *bench) acceptOnce(wrk, lua, durability string) (rate float64, err error) {
	b.starts++
	p, err := self(b.ctx, "accept", "-durability", durability, "-data", filepath.Join(b.dir, fmt.Sprint("accept-", b.starts)))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	rate, accepted, err := b.wrk(wrk, lua, p)
	if err != nil {
		return 0, err
	}
	if err := p.rest(b.ctx); err != nil {
		return 0, err
	}
	stored, err := b.stored(p.url)
	// wrk hangs up on the requests under way at its end, which may be stored.
	if err == nil && (stored < accepted || stored > accepted+connections) {
		err = fmt.Errorf("void: %d accepted, %d stored", accepted, stored)
	}
	return rate, err
}

func (b *bench) stored(url string) (int, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/stored", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(body))
}

var (
	wrkRate  = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkCount = regexp.MustCompile(`(\d+) requests in`)
	wrkError = regexp.MustCompile(`Socket errors|Non-2xx`)
)

// wrk loads a child for a few seconds and returns the rate and the number of
// requests that were answered.
func (b *bench) wrk(path, lua string, p *process) (rate float64, count int, err error) {
	cmd := exec.CommandContext(b.ctx, path, "-t1", "-c", strconv.Itoa(connections), "-d3s", "-s", lua, p.url)
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk: %w", err)
	}
	if wrkError.Match(out) {
		return 0, 0, fmt.Errorf("void: wrk saw refusals: %s", out)
	}
	r, c := wrkRate.FindSubmatch(out), wrkCount.FindSubmatch(out)
	if r == nil || c == nil {
		return 0, 0, errors.New("wrk printed no rate")
	}
	if rate, err = strconv.ParseFloat(string(r[1]), 64); err != nil {
		return 0, 0, err
	}
	count, err = strconv.Atoi(string(c[1]))
	return rate, count, err
}

// bus runs the benchmarks of internal/bus, where the baselines are the bare client
// of the broker, and takes the figures that they report (P9, P10).
func (b *bench) bus() error {
	cmd := exec.CommandContext(b.ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(GroupCommit|Publisher|Router)$", "-benchtime", "1x",
		"-count", strconv.Itoa(b.rounds), "./internal/bus")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("benchmarks of the bus: %w\n%s", err, out)
	}
	for _, g := range []struct {
		goal, bench, what, threshold, base string
		least                              float64
	}{
		{"P9", "BenchmarkGroupCommit", "accept with group commit / single publishes, 256 callers, `disk`", "≥ 5", "one fsync per publish", 5},
		{"P10", "BenchmarkPublisher", "our Watermill Publisher / bare sync publish, 64 callers, `os`", "≥ 0.9", "bare nats.go", 0.9},
		{"P10", "BenchmarkRouter", "our Subscriber, Router and middlewares / bare consume, `os`", "≥ 0.4", "bare nats.go", 0.4},
	} {
		if !b.wants(g.goal) {
			continue
		}
		ours, bare := column(out, g.bench, "ours/s"), column(out, g.bench, "bare/s")
		ratios := column(out, g.bench, "ratio")
		if len(ratios) == 0 {
			return fmt.Errorf("%s printed no ratio:\n%s", g.bench, out)
		}
		b.add(result{
			goal: g.goal, what: g.what, threshold: g.threshold, measured: fmt.Sprintf("%s (%.0f/s)", spread("%.2f", ratios), median(ours)),
			baseline: fmt.Sprintf("%.0f/s: %s", median(bare), g.base), met: median(ratios) >= g.least,
		})
	}
	return nil
}

// column collects the values with a unit from the lines of a Go benchmark.
func column(out []byte, name, unit string) []float64 {
	var values []float64
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if !bytes.HasPrefix(lines.Bytes(), []byte(name)) {
			continue
		}
		fields := bytes.Fields(lines.Bytes())
		for i := 1; i < len(fields); i++ {
			if string(fields[i]) == unit {
				if v, err := strconv.ParseFloat(string(fields[i-1]), 64); err == nil {
					values = append(values, v)
				}
			}
		}
	}
	return values
}
