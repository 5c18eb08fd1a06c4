package config

import (
	"switchboard/classify"
	"switchboard/router"
)

// Names are what rules may name: the configured channels and sinks, and the kinds
// of channels in the binary.
type Names struct {
	Channels, Sinks, Kinds []string
}

// Rules are a checked rules file.
type Rules struct {
	// File is where they came from; Source is its content, byte for byte.
	File   string
	Source []byte
	// Digest is the beginning of the SHA-256 of Source, 12 hexadecimal digits: every
	// decision carries it.
	Digest     string
	Tree       *router.Tree
	Classifier *classify.Classifier
	// Warnings are what is allowed but hardly meant.
	Warnings Diagnostics
}
