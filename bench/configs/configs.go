// Package configs holds the configs that come with afctl: the demo's, and those of the ablations, which differ from it in what their names say
// (bench/ablations runs them).
package configs

import _ "embed"

// Demo is demo.yaml, which `make demo` runs and `afctl init --demo` writes.
//
//go:embed demo.yaml
var Demo []byte
