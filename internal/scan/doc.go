// Package scan asks engines outside the program about messages: clamd over its
// socket (antivirus), Rspamd over HTTP (anti-spam and second opinion).
//
// It decides nothing but what an answer means. It promises that only a whole
// answer which says so makes a message clean: an engine that is away, slow,
// too old, beyond a limit, or whose answer is cut or not understood leaves it
// unscanned (promise P3, register C5). Every answer has a limit of length and
// time, and no text of an engine goes further than in printable form.
package scan

import "strings"

// maxName bounds what an engine may call something, in bytes.
const maxName = 200

// printable makes text of an engine harmless for logs and screens.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > 0x7e {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxName {
		s = s[:maxName]
	}
	return s
}
