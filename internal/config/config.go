// Package config reads the two files that admins own, switchboard.yaml and the
// rules, into values that need no further checks.
//
// Reading is strict: every mistake of a file is reported at once, each with its
// place and a way out, and no value that may be a secret is ever repeated.
package config

import (
	"log/slog"
	"net/netip"
	"time"

	"switchboard/adapter/secret"
	"switchboard/channels"
	"switchboard/sinks"
)

// A Config is a checked switchboard.yaml. All paths in it are ready for use:
// those that are relative in the file are relative to the file's folder.
type Config struct {
	// File is the file that was read, "" for the configuration without one.
	File string `yaml:"-"`
	// Listen is the address of the HTTP server, such as ":8080".
	Listen string `yaml:"listen"`
	// PublicURL is what vendors call and sign, without a slash at its end, such as
	// https://intake.shop.example. It is empty where nobody outside can reach us.
	PublicURL string `yaml:"public_url"`
	// TrustedProxies are the networks whose X-Forwarded-For is believed, such as
	// 10.0.0.0/8; only limits per address depend on it.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Data is the folder of everything that is kept: embedded broker, ledger, inbox.
	Data string `yaml:"data"`
	// Durability says when the embedded broker calls a message stored.
	Durability Durability `yaml:"durability" enum:"disk,os"`
	// NATS is the broker; without it, one is embedded.
	NATS NATS `yaml:"nats"`
	// Database is where ledger and inbox are kept: sqlite, in the data folder.
	Database string `yaml:"database" enum:"sqlite"`
	// Rules is the file of the rules; without it the rules that come with the
	// program hold, which file everything in the sink called inbox.
	Rules string `yaml:"rules"`
	// Horizon is how long a repeated message is recognised.
	Horizon time.Duration `yaml:"horizon"`
	// Log says how the program writes its log.
	Log Log `yaml:"log"`
	// StoreLimit is how much the embedded broker may store; 0 leaves it to the
	// program, which stays below the free space.
	StoreLimit Size `yaml:"store_limit"`
	// Channels and Sinks are in the order of the file.
	Channels []ChannelInstance `yaml:"-"`
	Sinks    []SinkInstance    `yaml:"-"`
	// Warnings are what is allowed but hardly meant.
	Warnings Diagnostics `yaml:"-"`

	kinds []string
}

// Durability says when a message counts as stored.
type Durability string

// Disk waits for the disk (fsync); OS trusts the operating system, and loses what
// it had not written when the power fails.
const (
	Disk Durability = "disk"
	OS   Durability = "os"
)

// NATS says which broker to use.
type NATS struct {
	// URL is one address or several, separated by commas; empty embeds the broker.
	URL string `yaml:"url"`
	// Credentials is the content of a .creds file, as a rule "file:…".
	Credentials secret.Secret `yaml:"credentials"`
	// Replicas is how many servers of a cluster hold each stream.
	Replicas int `yaml:"replicas" enum:"1,3,5"`
	// Config is a nats.conf that the embedded broker reads.
	Config string `yaml:"config"`
}

// Log says how the log is written.
type Log struct {
	Format string     `yaml:"format" enum:"text,json"`
	Level  slog.Level `yaml:"level" enum:"debug,info,warn,error"`
}

// An Instance is one configured channel or sink.
type Instance[K, C any] struct {
	// Name is unique across channels and sinks.
	Name string
	Kind K
	// Value is the kind's Config, not a pointer to it.
	Value any
	// Common are the options that every kind has.
	Common C
	// Line is where it stands in the file, from 1.
	Line int
}

// A ChannelInstance is one configured channel.
type ChannelInstance = Instance[channels.Kind, ChannelCommon]

// A SinkInstance is one configured sink.
type SinkInstance = Instance[sinks.Kind, SinkCommon]

// ChannelCommon are the options of every channel.
type ChannelCommon struct {
	// Realm separates mail channels that do not belong together; those of one realm
	// share their conversations.
	Realm string `yaml:"realm"`
	// RateLimit is how many requests one address may make, for channels that are
	// open to the public; the zero value leaves it to the program.
	RateLimit Rate `yaml:"rate_limit"`
	// Replies says what happens to replies.
	Replies Replies `yaml:"replies"`
}

// Replies says what happens to replies.
type Replies struct {
	// OnUnknown is for a reply of which nobody can tell whether it was sent.
	OnUnknown OnUnknown `yaml:"on_unknown" enum:"hold,resend"`
}

// OnUnknown says what to do with a reply of which nobody can tell whether it was sent.
type OnUnknown string

// Hold puts the reply to a person; Resend sends it again, and perhaps twice.
const (
	Hold   OnUnknown = "hold"
	Resend OnUnknown = "resend"
)

// SinkCommon are the options of every sink.
type SinkCommon struct {
	// Settle is how long the desk may still commit what it has received; 0 leaves it
	// to the kind.
	Settle time.Duration `yaml:"settle"`
	// AfterDead says what happens to a conversation after one of its messages could
	// not be filed.
	AfterDead AfterDead `yaml:"after_dead" enum:"continue,hold"`
	// Concurrency is how many calls may be under way; 0 leaves it to the kind.
	Concurrency int `yaml:"concurrency"`
}

// AfterDead says how a conversation goes on after a dead letter.
type AfterDead string

// Continue files the next message and says on the ticket what is missing; HoldLane
// stops the conversation until a person decides.
const (
	Continue AfterDead = "continue"
	HoldLane AfterDead = "hold"
)

// Options are what reading a configuration needs from its caller.
type Options struct {
	// ChannelKinds and SinkKinds are the kinds in this binary.
	ChannelKinds []channels.Kind
	SinkKinds    []sinks.Kind
	// Getenv looks up an environment variable.
	Getenv func(string) (string, bool)
	// ReadFile reads a configuration file; nil means os.ReadFile.
	ReadFile func(string) ([]byte, error)
}

// Channel returns the channel called name.
func (c *Config) Channel(name string) (ChannelInstance, bool) { return find(c.Channels, name) }

// Sink returns the sink called name.
func (c *Config) Sink(name string) (SinkInstance, bool) { return find(c.Sinks, name) }

func find[K, C any](in []Instance[K, C], name string) (Instance[K, C], bool) {
	for _, i := range in {
		if i.Name == name {
			return i, true
		}
	}
	return Instance[K, C]{}, false
}

// Names returns the names that rules may use.
func (c *Config) Names() Names {
	n := Names{Kinds: c.kinds}
	for _, i := range c.Channels {
		n.Channels = append(n.Channels, i.Name)
	}
	for _, i := range c.Sinks {
		n.Sinks = append(n.Sinks, i.Name)
	}
	return n
}
