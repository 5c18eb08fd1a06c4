package main

// The pages of docs/reference are made from what the binary holds.
//go:generate go run switchboard/internal/tools/docgen -root ../../..
