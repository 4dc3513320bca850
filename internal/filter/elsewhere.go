package filter

import (
	"context"
	"html"
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// elsewhere does the actions that send something else, or the message itself on
// another way; false: the action is none of them.
func (r *run) elsewhere(ctx context.Context, a *action) (bool, error) {
	out := mail.Actions{}
	switch a.word {
	case "bcc", "bcc-scan":
		return true, r.copyTo(ctx, a)
	case "notify", "notify-copy":
		n, err := r.notify(ctx, a)
		if err != nil {
			return true, err
		}
		out.Notices = []mail.Notice{n}
	case "archive", "log":
		out.Archive = []mail.Archived{{Name: a.args[0].text, By: r.by("archive")}}
	case "alt-rcpt-to":
		out.To, out.ToBy = a.args[0].to, r.by("alt-rcpt-to-filter")
	case "alt-mailhost":
		out.Route.Host = a.args[0].host
	case "alt-src-host":
		out.Route.Interface = a.args[0].text
	case "bounce-profile":
		out.Route.Profile = a.args[0].text
	case "tag-message":
		if len(r.out.Tags) < maxTags {
			out.Tags = []string{a.args[0].text}
		}
	default:
		return false, nil
	}
	r.out.Add(out)
	return true, nil
}

// by names an action of the filter under way, as log lines do.
func (r *run) by(word string) string { return word + " filter '" + r.filter + "'" }

// copyTo sends a copy to somebody else.
func (r *run) copyTo(ctx context.Context, a *action) (err error) {
	b := mail.Bcc{To: a.args[0].to, By: r.filter, Scan: a.word == "bcc-scan"}
	if len(a.args) > 1 {
		if b.Subject, err = r.expand(ctx, a.args[1].tmpl); err != nil {
			return err
		}
	}
	if len(a.args) > 2 {
		b.From = a.args[2].to
	}
	if len(a.args) > 3 {
		b.Host = a.args[3].host
	}
	r.out.Bcc = append(r.out.Bcc, b)
	return nil
}

// notify makes a notice.
func (r *run) notify(ctx context.Context, a *action) (n mail.Notice, err error) {
	who := a.args[0].people
	n = mail.Notice{To: who.to, ToSender: who.sender, Subject: "Message notification", Copy: a.word == "notify-copy", By: r.by(a.word)}
	if who.recipients {
		n.To = append(slices.Clip(n.To), r.facts.Env.To...)
	}
	body := noticeText
	if len(a.args) > 1 && a.args[1].text != "" {
		if n.Subject, err = r.expand(ctx, a.args[1].tmpl); err != nil {
			return n, err
		}
	}
	if len(a.args) > 2 {
		n.From = a.args[2].text
	}
	if len(a.args) > 3 && a.texts != nil {
		body = a.texts.plain
	}
	n.Text, err = r.text(ctx, body, func(s string) string { return s })
	return n, err
}

// text fills in a text of lines.
func (r *run) text(ctx context.Context, t template, quote func(string) string) (string, error) {
	if t.uses("filenames", "filesizes", "filetypes") {
		if err := r.readContent(ctx); err != nil {
			return "", err
		}
	}
	return lines(t.whole(r.value, quote)), nil
}

// beside puts a text above or below that of the message.
func (r *run) beside(ctx context.Context, a *action) error {
	if a.texts == nil {
		return nil // the filter is invalid and does not run
	}
	e := mail.BodyEdit{Kind: mail.AddEnd, By: r.by(a.word)}
	if a.word == "add-heading" {
		e.Kind = mail.AddTop
	}
	var err error
	if e.Text, err = r.text(ctx, a.texts.plain, func(s string) string { return s }); err != nil {
		return err
	}
	if len(a.texts.html) > 0 {
		if e.HTML, err = r.text(ctx, a.texts.html, html.EscapeString); err != nil {
			return err
		}
	}
	if strings.TrimSpace(e.Text+e.HTML) != "" {
		r.out.Edit(e)
	}
	return nil
}
