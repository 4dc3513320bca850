package filter

import (
	"slices"
	"strings"
	"testing"
)

// Conditions are joined by all or any, actions run in their order, a final one
// last; reasons and log lines name the table.
func TestContentFilters(t *testing.T) {
	for name, c := range map[string]struct {
		filters []ContentFilter
		want    string // quarantines and reasons, or why it is dropped
		notes   []string
	}{
		"all":           {[]ContentFilter{{Name: "a", Conditions: []string{`subject == "Hello"`, `rcpt-to == "ines"`}, Actions: []string{`quarantine("Policy");`}}}, "Policy content filter:a", nil},
		"not all":       {[]ContentFilter{{Name: "a", Conditions: []string{`subject == "Hello"`, `rcpt-to == "nobody"`}, Actions: []string{`quarantine("Policy")`}}}, "", nil},
		"any":           {[]ContentFilter{{Name: "a", Any: true, Conditions: []string{`subject == "zzz"`, `rcpt-to == "nobody" or true`}, Actions: []string{`quarantine("Policy")`}}}, "Policy content filter:a", nil},
		"or in all":     {[]ContentFilter{{Name: "a", Conditions: []string{`true or true`, `not true`}, Actions: []string{`drop()`}}}, "", nil},
		"none":          {[]ContentFilter{{Name: "always", Actions: []string{`drop()`, `log-entry("$FilterName")`}}}, "Dropped by content filter 'always' in the inbound table", []string{"always"}},
		"none of any":   {[]ContentFilter{{Name: "a", Any: true, Actions: []string{`log-entry("x")`}}}, "", []string{"x"}},
		"inactive":      {[]ContentFilter{{Name: "a", Inactive: true, Actions: []string{`drop()`}}}, "", nil},
		"final is last": {[]ContentFilter{{Name: "a", Actions: []string{`quarantine("Policy")`}}, {Name: "b", Actions: []string{`deliver()`, `quarantine("Other")`}}, {Name: "c", Actions: []string{`drop()`}}}, "Policy content filter:a", nil},
		"skip":          {[]ContentFilter{{Name: "a", Actions: []string{`quarantine("Policy")`, `skip-filters()`}}, {Name: "b", Actions: []string{`drop()`}}}, "Policy content filter:a", nil},
		"both":          {[]ContentFilter{{Name: "a", Actions: []string{`quarantine("Policy")`}}, {Name: "b", Actions: []string{`quarantine("Policy")`, `quarantine("Two")`}}}, "Policy content filter:a, Two content filter:b", nil},
	} {
		set, err := NewContent("inbound", c.filters)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d, err := set.Run(t.Context(), sample())
		var got []string
		for _, p := range d.Quarantine {
			got = append(got, p.Quarantine+" "+p.Reason)
		}
		if d.Drop {
			got = append(got, d.DropReason)
		}
		if err != nil || strings.Join(got, ", ") != c.want || !slices.Equal(d.Notes, c.notes) {
			t.Errorf("%s: %q %q %v", name, got, d.Notes, err)
		}
	}
}

// What is wrong with a content filter is said with its name and place; nothing
// gets out of the piece of the language that it is.
func TestContentErrors(t *testing.T) {
	one := func(condition, action string) ContentFilter {
		return ContentFilter{Name: "f", Conditions: []string{"true", condition}, Actions: []string{"log-entry(\"x\")", action}}
	}
	for want, f := range map[string]ContentFilter{
		"content filter f: condition 2: column 9: a comparison is == or !=, not =": one(`subject = "x"`, "drop()"),
		"content filter f: condition 2: column 5: nothing is expected behind it":   one("true) { drop(); } x: if (true", "drop()"),
		"content filter f: condition 2: column 1: expected a rule":                 one("", "drop()"),
		"content filter f: condition 2: column 1: unknown rule":                    one("subjekt", "drop()"),
		"content filter f: action 2: column 1: unknown action":                     one("true", "burn()"),
		"content filter f: action 2: column 9: nothing is expected behind it":      one("true", "drop(); deliver()"),
		"content filter f: action 3: drop() and deliver() are both final":          {Name: "f", Actions: []string{"drop()", "log-entry('x')", "deliver()"}},
		"content filter f: it has no action":                                       {Name: "f"},
		`content filter a b: "a b" is no name`:                                     {Name: "a b", Actions: []string{"drop()"}},
		"content filter f: it has more than 50 conditions":                         {Name: "f", Conditions: slices.Repeat([]string{"true"}, 51), Actions: []string{"drop()"}},
	} {
		if _, err := NewContent("inbound", []ContentFilter{f}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
