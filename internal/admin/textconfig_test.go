package admin

import (
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
)

// Texts by lines and by questions; what makes no sense does not get in, and a
// filter that names one which is gone says so.
func TestTextConfig(t *testing.T) {
	l, st := scanningSettings(t, engine{})
	wants(t, "none", first(run(t, l, admin, "textconfig list")), "No texts have been defined.\n")
	wants(t, "new", first(runInput(t, l, admin, "textconfig new legal", "From $EnvelopeFrom\n.dot\n")), "Commit to put this in force.\n")
	wants(t, "html", first(runInput(t, l, admin, "textconfig html legal", "<b>x</b>\n")), "Commit to put this in force.\n")
	wants(t, "print", first(run(t, l, admin, "textconfig print Legal; textconfig list")), "From $EnvelopeFrom\n.dot\n--- HTML:\n<b>x</b>\n", "1. legal (23 bytes, HTML 8)\n")
	s := newScript("textconfig", "new", "asked", "one", "two", ".", "edit", "asked", "three", ".", "print", "asked", "")
	l.Shell(t.Context(), admin, s)
	wants(t, "asked", s.String(), "Enter '.' on its own line to end.", "three\n")
	for line, want := range map[string]string{
		"textconfig new ../x":    "is no name",
		"textconfig new Legal":   "There is a text Legal already",
		"textconfig edit gone":   "There is no text gone",
		"textconfig delete gone": "There is no text gone",
	} {
		if out, status := runInput(t, l, admin, line, "x\n"); status == 0 {
			t.Errorf("%s: %q, want %q", line, out, want)
		} else {
			wants(t, line, out, want)
		}
	}
	if out, status := runInput(t, l, admin, "textconfig new bad", "$Nobody\n"); status == 0 {
		t.Errorf("%q", out)
	} else {
		wants(t, "variable", out, "unknown variable $Nobody")
	}
	wants(t, "a filter that names one", first(runInput(t, l, admin, "filters new", `a: if (true) { add-footer("asked"); }`+"\n")), "1 filters added.\n")
	wants(t, "delete", first(run(t, l, admin, "textconfig delete asked; filters list")), "a is not valid and does not run: there is no text \"asked\"\n")
	conf, _ := st.Pending()
	if len(conf.Texts) != 1 || conf.Texts[0].Name != "legal" {
		t.Errorf("%+v", conf.Texts)
	}
}

// The script goes out as it came in, and filters move with their comments.
func TestFiltersMoveAndExport(t *testing.T) {
	l, _ := settings(t, config.Gateway)
	const script = "a: if (true) { log-entry(\"a\"); }\n# about b\nb: if (true) {\n  drop();\n}\nc! if (true) { drop(); }\n"
	wants(t, "import", first(runInput(t, l, admin, "filters import", script)), "3 filters added.\n")
	if out := first(run(t, l, admin, "filters export")); out != script {
		t.Errorf("%q", out)
	}
	wants(t, "move", first(run(t, l, admin, "filters move b first; filters list")), "1 filter moved.\n", "  1 Y      Y     b\n  2 Y      Y     a\n  3 N      Y     c\n")
	wants(t, "move", first(run(t, l, admin, "filters move b 3; filters export")), "a: if (true) { log-entry(\"a\"); }\nc! if (true) { drop(); }\n# about b\nb: if (true) {\n  drop();\n}\n")
	for _, line := range []string{"filters move b 4", "filters move b 0", "filters move nobody 1", "filters move b x"} {
		if out, status := run(t, l, admin, line); status == 0 {
			t.Errorf("%s: %q", line, out)
		}
	}
}

// someArchives is two files.
type someArchives struct{ rolled string }

func (a *someArchives) ArchiveFiles() ([]ArchiveFile, error) {
	return []ArchiveFile{{Path: "/x/a.1.mbox", Size: 1234567, At: time.Unix(0, 0)}, {Path: "/x/a.mbox", At: time.Unix(60, 0)}}, nil
}

func (a *someArchives) RollOver(name string) error {
	if name != "a" {
		return errs.New(errs.NotFound, "there is no archive %q with a file under way", name)
	}
	a.rolled = name
	return nil
}

func TestArchiveCommands(t *testing.T) {
	a := &someArchives{}
	l := language(t, ArchiveCommands(a)...)
	wants(t, "list", first(run(t, l, admin, "filters archives")), "1970-01-01 00:00:00     1,234,567 bytes  /x/a.1.mbox\n")
	wants(t, "roll", first(run(t, l, admin, "filters rollovernow a")), "is ended")
	if out, status := run(t, l, admin, "filters rollovernow b"); status == 0 || a.rolled != "a" {
		t.Errorf("%q %q", out, a.rolled)
	}
}
