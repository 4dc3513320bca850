//go:build !cgo

package spool

const cgoEnabled = false
