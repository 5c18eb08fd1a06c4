package schemas

// The JSON Schemas and the description of the streams are made from the types of
// this package and their comments.
//go:generate go run switchboard/internal/tools/schemagen -root ..
