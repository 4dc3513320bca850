package filter

import (
	"slices"
	"strconv"
	"strings"

	"lazaret/internal/mail"
)

// variables are the names behind a dollar sign, in any case.
var variables = [...]string{
	"BodySize", "Date", "EnvelopeFrom", "EnvelopeRecipients", "filenames", "filesizes", "filetypes", "FilterName", "Group",
	"MatchedContent", "MID", "Policy", "RecvInt", "RecvListener", "remote_host", "remote_ip", "Subject", "Time", "Timestamp",
}

// variable gives the written form of a name. What the original calls remotehost
// and remoteip is understood too.
// Some texts have more of them.
func variable(name string, more ...string) (string, bool) {
	for _, v := range append(variables[:len(variables):len(variables)], more...) {
		if strings.EqualFold(v, name) || strings.EqualFold(strings.ReplaceAll(v, "_", ""), name) {
			return v, true
		}
	}
	return "", false
}

// uses reports whether the text has one of the variables.
func (t template) uses(names ...string) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return p.variable && slices.Contains(names, p.text) })
}

// value gives what a variable stands for.
func (r *run) value(name string) string {
	f := r.facts
	switch name {
	case "BodySize":
		return strconv.FormatInt(f.Size, 10)
	case "Date":
		return f.Now.Format("01/02/2006")
	case "Time":
		return f.Now.Format("15:04:05")
	case "Timestamp":
		return f.Now.Format("02 Jan 2006 15:04:05 -0700")
	case "EnvelopeFrom":
		return f.Env.From.String()
	case "EnvelopeRecipients":
		return recipients(f.Env.To)
	case "FilterName":
		return r.filter
	case "Group":
		return f.Origin.SenderGroup
	case "Policy":
		return f.Origin.Policy
	case "RecvInt":
		return f.Origin.Interface
	case "RecvListener":
		return f.Origin.Listener
	case "MID":
		return f.MID.String()
	case "MatchedContent":
		return list(r.matched, func(s string) string { return s })
	case "remote_host":
		return f.Origin.RemoteHost
	case "remote_ip":
		if !f.Origin.RemoteIP.IsValid() {
			return ""
		}
		return f.Origin.RemoteIP.Unmap().String()
	case "dropped_filename", "dropped_filetype", "dropped_filesize":
		return r.dropped.droppedVariable(name)
	case "filenames", "filesizes", "filetypes":
		return list(r.content.Files, func(f File) string { return f.variable(name) })
	}
	return f.Subject
}

// variable gives what one attachment adds to a variable.
func (f *File) variable(name string) string {
	switch {
	case f.In != "":
		return "" // the variables are of the attachments themselves
	case name == "filesizes":
		return strconv.FormatInt(f.Size, 10)
	case name == "filetypes" && len(f.Kinds) > 0:
		return f.Kinds[0]
	case name == "filenames" && len(f.Names) > 0:
		return f.Names[0]
	}
	return ""
}

// recipients lists the addresses.
func recipients(to []mail.Address) string { return list(to, mail.Address.String) }

// list joins as many as can be of use in a line.
func list[T any](all []T, text func(T) string) string {
	var b strings.Builder
	for _, one := range all {
		s := text(one)
		if s == "" {
			continue
		}
		if b.Len() > maxText {
			break
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s)
	}
	return b.String()
}
