// Package models holds the model files that come with sluice.
package models

import "embed"

// FS holds one YAML file for each kind of record.
//
//go:embed *.yaml
var FS embed.FS
