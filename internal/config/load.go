package config

import (
	_ "embed" // the configuration without a file
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/sinks"
)

// defaults are what holds where a file says nothing.
func defaults() Config {
	return Config{
		Listen:     ":8080",
		Data:       "data",
		Durability: Disk,
		NATS:       NATS{Replicas: 1},
		Horizon:    35 * 24 * time.Hour,
		Log:        Log{Format: "text", Level: slog.LevelInfo},
	}
}

func channelDefaults() ChannelCommon { return ChannelCommon{Replies: Replies{OnUnknown: Hold}} }

func sinkDefaults() SinkCommon { return SinkCommon{AfterDead: Continue} }

// minHorizon leaves time for a delivery to be read again before it is forgotten.
const minHorizon = 48 * time.Hour

// Load reads and checks a configuration file. An error of type Diagnostics says
// everything that is wrong with it; any other says that it cannot be read.
func Load(path string, o Options) (*Config, error) {
	read := o.ReadFile
	if read == nil {
		read = os.ReadFile
	}
	source, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return parseConfig(path, source, o)
}

//go:embed default.yaml
var defaultConfig []byte

// Default is the configuration of a run without a file: the channels website (a
// form) and webhook (which asks for token), and the sink inbox.
func Default(o Options, token secret.Secret) (*Config, error) {
	o.Getenv = func(name string) (string, bool) { return token.Reveal(), name == "TOKEN" }
	c, err := parseConfig("default.yaml", defaultConfig, o)
	if err != nil {
		return nil, err
	}
	c.File = ""
	return c, nil
}

func parseConfig(path string, source []byte, o Options) (*Config, error) {
	b := newBinder(path, o.Getenv)
	c := defaults()
	c.File = path
	for _, k := range o.ChannelKinds {
		c.kinds = append(c.kinds, k.Name())
	}
	if root := b.parse(source); root != nil {
		b.fill(root, "", 0, map[string]special{
			"channels": func(p pair, path string) { c.Channels = b.channels(p, path, o.ChannelKinds) },
			"sinks":    func(p pair, path string) { c.Sinks = b.sinks(p, path, o.SinkKinds) },
		}, reflect.ValueOf(&c).Elem())
		if b.fine("") && !b.gaveUp {
			b.check(&c)
		}
	}
	var err error
	c.Warnings, err = b.diagnostics.split()
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// check finds what is wrong with the values themselves, or with two of them
// together, and brings them into their final form.
func (b *binder) check(c *Config) {
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || !isPort(port) {
		b.reject("listen", "want an address such as :8080 or 127.0.0.1:8080")
	}
	if problem := publicURL(&c.PublicURL); problem != "" {
		b.reject("public_url", problem)
	}
	if c.Data == "" {
		b.reject("data", "must not be empty")
	}
	if c.Horizon < minHorizon && b.fine("horizon") {
		b.reject("horizon", "must be at least 2d")
	}
	b.checkBroker(&c.NATS)
	for path := range b.keys {
		name, ok := strings.CutPrefix(path, "sinks.")
		if _, both := b.keys["channels."+name]; ok && both && instanceName.MatchString(name) {
			b.rejectKey(path, "a channel has this name too; both would be called at /hooks/"+name)
		}
	}
	if len(c.Channels) == 0 && b.allFine("channels") {
		b.reject("channels", "required: there is no channel")
	}
	if len(c.Sinks) == 0 && b.allFine("sinks") {
		b.reject("sinks", "required: there is no sink")
	}
	if _, ok := c.Sink("inbox"); c.Rules == "" && len(c.Sinks) > 0 && !ok {
		b.reject("rules", "required: the rules that come with the program need a sink called inbox")
	}
	c.Data, c.Rules, c.NATS.Config = b.beside(c.Data), b.beside(c.Rules), b.beside(c.NATS.Config)
}

func (b *binder) checkBroker(n *NATS) {
	for address := range strings.SplitSeq(n.URL, ",") {
		if n.URL == "" {
			break
		}
		u, err := url.Parse(strings.TrimSpace(address))
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			b.reject("nats.url", "want addresses such as nats://a:4222,nats://b:4222")
		case u.User != nil:
			b.reject("nats.url", "name and password do not belong into the address; use credentials")
		}
	}
	switch {
	case n.URL != "" && n.Config != "":
		b.reject("nats.config", "is for the embedded broker, but nats.url names another one")
	case n.URL == "" && !n.Credentials.IsZero() && n.Config == "":
		b.reject("nats.credentials", "the embedded broker asks for none; is nats.url missing?")
	case n.URL == "" && n.Replicas > 1:
		b.reject("nats.replicas", "the embedded broker is alone; is nats.url missing?")
	}
}

// rejectKey reports what is wrong with the key at path.
func (b *binder) rejectKey(path, message string) { b.report(b.keys[path], path, message) }

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// publicURL checks a base address and takes a slash from its end.
func publicURL(s *string) string {
	if *s == "" {
		return ""
	}
	u, err := url.Parse(*s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Port() != "" && !isPort(u.Port()):
		return "want an address such as https://intake.shop.example"
	case u.User != nil:
		return "name and password do not belong into it"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(*s, "#"):
		return "want the address alone, without ? and #"
	case u.Path != "" && u.Path != "/":
		return "want the address alone, without a path: channels are at /hooks/NAME below it"
	}
	*s = strings.TrimSuffix(*s, "/")
	return ""
}

var instanceName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// channels reads the section of the same name.
func (b *binder) channels(p pair, path string, kinds []channels.Kind) []ChannelInstance {
	read := instances(b, p, path, kinds, channelDefaults())
	for _, i := range read {
		if at := join(path, i.Name) + ".realm"; i.Common.Realm != "" && !i.Kind.Traits().Mail {
			b.reject(at, "is for mail; "+i.Kind.Name()+" has no realms")
		}
	}
	return read
}

// sinks reads the section of the same name.
func (b *binder) sinks(p pair, path string, kinds []sinks.Kind) []SinkInstance {
	read := instances(b, p, path, kinds, sinkDefaults())
	for _, i := range read {
		if i.Common.Concurrency < 0 {
			b.reject(join(path, i.Name)+".concurrency", "must not be negative")
		}
	}
	return read
}

// A kind is what both contracts have for instances.
type kind interface {
	Name() string
	Config() any
}

// instances reads the channels or the sinks: to each a kind, and beside it the
// kind's own options and those that all have.
func instances[K kind, C any](b *binder, section pair, path string, kinds []K, common C) []Instance[K, C] {
	pairs, ok := b.mapping(section.value, path, 1)
	if !ok {
		return nil
	}
	known := make([]string, len(kinds))
	for i, k := range kinds {
		known[i] = k.Name()
	}
	slices.Sort(known)
	var out []Instance[K, C]
	for _, p := range pairs {
		at := join(path, p.key)
		b.keys[at] = p.where
		if !instanceName.MatchString(p.key) {
			b.report(p.where, at, "a name has 1 to 40 of a-z, 0-9 and -")
		}
		name, ok := b.kindOf(p, at)
		if !ok {
			continue
		}
		k := slices.IndexFunc(kinds, func(k K) bool { return k.Name() == name })
		if k < 0 {
			b.reject(at+".kind", unknown("kind", name, known))
			continue
		}
		value := reflect.ValueOf(kinds[k].Config()).Elem()
		one := Instance[K, C]{Name: p.key, Kind: kinds[k], Common: common, Line: p.where.line}
		b.fill(p.value, at, 2, map[string]special{"kind": func(pair, string) {}}, value, reflect.ValueOf(&one.Common).Elem())
		one.Value = value.Interface()
		out = append(out, one)
	}
	return out
}

// kindOf finds the kind of one instance, for the meaning of all its other keys
// depends on it.
func (b *binder) kindOf(p pair, path string) (string, bool) {
	// The keys are read again with the kind's fields, so what is wrong with them is
	// said then.
	before, bad := len(b.diagnostics), maps.Clone(b.bad)
	pairs, ok := b.mapping(p.value, path, 2)
	if !ok {
		return "", false
	}
	for _, option := range pairs {
		if option.key != "kind" {
			continue
		}
		var name string
		b.keys[path+".kind"] = option.where
		b.bind(option.value, reflect.ValueOf(&name).Elem(), "", path+".kind", 3)
		if name == "" && b.fine(path+".kind") {
			b.reject(path+".kind", "must not be empty")
		}
		if name != "" {
			b.diagnostics, b.bad = b.diagnostics[:min(before, len(b.diagnostics))], bad
		}
		return name, name != ""
	}
	b.report(p.where, path+".kind", "required")
	return "", false
}

// IsNotExist reports whether err says that a file is not there.
func IsNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
