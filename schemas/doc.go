// Package schemas holds the domain types that channels, sinks, the pipeline and
// the reports share, and their JSON Schemas.
//
// A message is one thing a customer sent; a ticket is the helpdesk's record of
// it; a comment is one entry on a ticket; a reply is an agent's comment on its
// way out. Times are UTC. Every stored record carries the version of its shape.
package schemas

// Version is the shape of the records this program writes. It rises when a
// field changes its meaning; added fields do not change it.
const Version = 1
