package gateway

import (
	"strings"

	"lazaret/internal/mail"
)

// fieldEdits are the changes of header fields that filters asked for.
type fieldEdits []mail.FieldEdit

// drop gives which fields go, those of also among them; nil none.
func (all fieldEdits) drop(also func(name, value string) bool) func(name, value string) bool {
	gone := make(map[string]bool)
	for _, e := range all {
		if e.Change == nil {
			gone[strings.ToLower(e.Name)] = true
		}
	}
	if len(gone) == 0 {
		return also
	}
	return func(name, value string) bool { return gone[name] || also != nil && also(name, value) }
}

// change gives what changes values; nil nothing does.
func (all fieldEdits) change() func(name, value string) (string, bool) {
	if len(all) == 0 {
		return nil
	}
	return func(name, value string) (string, bool) {
		changed := false
		for _, e := range all {
			if e.Change == nil || !strings.EqualFold(e.Name, name) {
				continue
			}
			if v, ok := e.Change(value); ok {
				value, changed = v, true
			}
		}
		return value, changed
	}
}

// subject gives what becomes of a subject, raw and unfolded.
func (all fieldEdits) subject(raw string) string {
	if drop := all.drop(nil); drop != nil && drop("subject", raw) {
		return ""
	}
	if change := all.change(); change != nil {
		raw, _ = change("subject", raw)
	}
	return raw
}
