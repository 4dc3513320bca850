package admin

import (
	"strings"
	"testing"

	"lazaret/internal/mail"
)

// Dictionaries by lines and by questions; what makes no sense does not get in.
func TestDictionaryConfig(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "none", first(run(t, l, admin, "dictionaryconfig list")), "No content dictionaries have been defined.\n")
	wants(t, "new", first(run(t, l, admin, "dictionaryconfig new HR 'salary, 5' bonus case_sensitive=yes '*ssn, 10'")), "Commit to put this in force.\n")
	wants(t, "edit", first(run(t, l, admin, "dictionaryconfig edit HR case_sensitive=no remove bonus add 'salary, 3' 'pay (rise|slip)'; dictionaryconfig export HR")), "*ssn, 10\nsalary, 3\npay (rise|slip), 1\n")
	wants(t, "rename", first(run(t, l, admin, "dictionaryconfig rename HR Staff; dictionaryconfig list")), "Currently configured content dictionaries:\n1. Staff (3 terms)\n")
	wants(t, "import", first(runInput(t, l, admin, "dictionaryconfig import Staff", "one, 2\n\ntwo\n")), "Commit")
	wants(t, "export", first(run(t, l, admin, "dictionaryconfig export Staff")), "one, 2\ntwo\n")
	s := newScript("dictionaryconfig", "new", "Asked", "first, 4", "second", "", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "asked", s.String(), "Enter new words or regular expressions, enter a blank line to finish.", "Commit to put this in force.")
	wants(t, "asked", first(run(t, l, admin, "dictionaryconfig export Asked")), "first, 4\nsecond, 1\n")
	conf, _ := st.Pending()
	if d := conf.Dictionary("Staff"); d == nil || d.Len() != 2 {
		t.Errorf("%+v", conf.Dictionaries)
	}
	for line, want := range map[string]string{
		"dictionaryconfig new Staff x":                       "There is a content dictionary Staff already",
		"dictionaryconfig new Bad 'x, 11'":                   "is not 0 to 10",
		"dictionaryconfig new Bad '(x'":                      "the regular expression is wrong",
		"dictionaryconfig new Bad '*visa'":                   "they are *aba, *credit",
		"dictionaryconfig new 'two words' x":                 "is no name of a dictionary",
		"dictionaryconfig edit Staff remove nothing":         "has no term",
		"dictionaryconfig edit Staff nothing":                "is neither a parameter nor add nor remove",
		"dictionaryconfig edit Staff parts_of_words=perhaps": "is yes or no",
		"dictionaryconfig delete Nobody":                     "There is no content dictionary Nobody",
		"dictionaryconfig rename Staff Asked":                "There is a content dictionary Asked already",
	} {
		out, status := run(t, l, admin, line)
		if !strings.Contains(out, want) || status == 0 {
			t.Errorf("%s: %d %q, want %q", line, status, out, want)
		}
	}
	if out, _ := runInput(t, l, admin, "dictionaryconfig import Staff", "x\nx\n"); !strings.Contains(out, `the term "x" stands twice`) {
		t.Errorf("%q", out)
	}
	wants(t, "a filter that names one", first(runInput(t, l, admin, "filters new", `a: if (dictionary-match("Staff", 2)) { drop(); }`+"\n")), "1 filters added.\n")
	wants(t, "delete", first(run(t, l, admin, "dictionaryconfig delete Staff; filters list")), "a is not valid and does not run: there is no dictionary \"Staff\"\n")
}

// runInput runs a line that reads more from the input.
func runInput(t *testing.T, l *house, p mail.Principal, line, input string) (string, int) {
	t.Helper()
	s := newScript(strings.Split(strings.TrimSuffix(input, "\n"), "\n")...)
	status := l.Exec(t.Context(), p, line, s)
	return s.String(), status
}
