package gateway

import (
	"strings"

	"lazaret/internal/mail"
)

// bodyWords says what a change of the content is.
func bodyWords(e mail.BodyEdit) string {
	by := " (" + e.By + ")"
	switch e.Kind {
	case mail.DropPart:
		part := e.Part
		if part == "" {
			part = "the message itself"
		}
		return "attachment taken out: part " + part + by
	case mail.AddTop:
		return "text above: " + firstLine(e.Text) + by
	case mail.AddEnd:
		return "text below: " + firstLine(e.Text) + by
	case mail.EditText:
		return "text changed where it matches" + by
	}
	return "HTML made plain text" + by
}

func firstLine(s string) string {
	line, rest, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if line = strings.TrimRight(line, "\r"); rest != "" {
		line += " ..."
	}
	return line
}

// elsewhereWords says what else is done about a message: who gets copies and
// notices, and how it travels.
func elsewhereWords(d mail.Disposition) (out []string) {
	for _, b := range d.Bcc {
		word := "copy to "
		if b.Scan {
			word = "copy through all stages to "
		}
		out = append(out, word+b.To.String()+" (filter '"+b.By+"')")
	}
	for _, n := range d.Notices {
		var to []string
		for _, a := range n.To {
			to = append(to, a.String())
		}
		if n.ToSender {
			to = append(to, "the sender, if it is certain who that is")
		}
		out = append(out, "notice \""+n.Subject+"\" to "+strings.Join(to, ", ")+" ("+n.By+")")
	}
	for _, a := range d.Archive {
		out = append(out, "kept in the archive "+a.Name+" ("+a.By+")")
	}
	for _, t := range d.Tags {
		out = append(out, "tag "+t)
	}
	if d.AlternateTo() {
		out = append(out, "all recipients replaced by "+d.To.String()+" ("+d.ToBy+")")
	}
	if r := d.Route; r != (mail.Route{}) {
		for _, w := range []struct{ what, value string }{{"delivered to host ", r.Host}, {"delivered from interface ", r.Interface}, {"bounce profile ", r.Profile}} {
			if w.value != "" {
				out = append(out, w.what+w.value)
			}
		}
	}
	return out
}
