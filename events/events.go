// Package events has example events: the documents, `sluice demo`, `sam local
// invoke` and the tests use the same files. bodies.jsonl has the bodies of
// batch.json, for `sluice send`.
package events

import "embed"

// FS has one event per file.
//
//go:embed *.json
var FS embed.FS
