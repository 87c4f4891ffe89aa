// Package events holds example events: the README, `sluice demo`, `sam local
// invoke` and the tests use the same files.
package events

import "embed"

// FS holds one event in each file.
//
//go:embed *.json
var FS embed.FS
