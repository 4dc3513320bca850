package odd

import "strings"

// in gives the plain message with something in the head of its part replaced.
func in(old, with string) string {
	if !strings.Contains(Evil, old) {
		panic("odd: the part has no " + old)
	}
	return Attach(Mixed, "bb", strings.Replace(Evil, old, with, 1))
}

// typed gives it with another Content-Type of the message.
func typed(t string) string { return Attach("Content-Type: "+t, "bb", Evil) }

const (
	name     = "filename=evil.exe"
	encoding = "Content-Transfer-Encoding: base64"
)

// inner gives the plain message with a multipart in the place of its part.
func inner(head, body string) string {
	return Attach(Mixed, "bb", "Content-Type: text/plain\r\n\r\nhello\r\n--bb\r\n"+head+"\r\n\r\n"+body+"\r\n--bb\r\nContent-Type: text/plain")
}

const part = "\r\n" + Evil + "\r\n\r\n" + File + "\r\n"

// more are further spellings of each kind of evasion.
func more() []Message {
	var all []Message
	for _, list := range [][]Message{boundaries(), types(), fields(), names(), encodings(), ends(), places()} {
		all = append(all, list...)
	}
	return all
}

func boundaries() []Message {
	return []Message{
		{"boundary in capitals", typed("MULTIPART/MIXED; BOUNDARY=bb"), ""},
		{"boundary between two semicolons", typed("multipart/mixed;; boundary=bb;"), Any},
		{"boundary with blanks around its sign", typed("multipart/mixed; boundary = bb"), Any},
		{"boundary behind a tab", typed("multipart/mixed;\tboundary=bb"), Any},
		{"boundary on a line of its own", typed("multipart/mixed;\r\n boundary=bb"), ""},
		{"boundary split by folding", Attach("Content-Type: multipart/mixed; boundary=\"b\r\n b\"", "b b", Evil), Any},
		{"boundary quoted with escapes", typed(`multipart/mixed; boundary="\b\b"`), Any},
		{"boundary in single quotes", Attach("Content-Type: multipart/mixed; boundary='bb'", "'bb'", Evil), Any},
		{"boundary with its quotes in the delimiter", Attach(`Content-Type: multipart/mixed; boundary="bb"`, `"bb"`, Evil), Nobody},
		{"boundary with a quote in it", Attach(`Content-Type: multipart/mixed; boundary="b\"b"`, `b"b`, Evil), Any},
		{"boundary with a quote left open", typed(`multipart/mixed; boundary="bb`), Any},
		{"boundary with a blank at its end", Attach(`Content-Type: multipart/mixed; boundary="bb "`, "bb ", Evil), Any},
		{"boundary that is empty", Attach(`Content-Type: multipart/mixed; boundary=""`, "", Evil), Any},
		{"boundary with a comma", Attach("Content-Type: multipart/mixed; boundary=b,b", "b,b", Evil), Any},
		{"boundary with a slash, not quoted", Attach("Content-Type: multipart/mixed; boundary=b/b", "b/b", Evil), Any},
		{"boundary with high octets", Attach("Content-Type: multipart/mixed; boundary=b\xe9b", "b\xe9b", Evil), Any},
		{"boundary as an encoded word", typed("multipart/mixed; boundary=\"=?us-ascii?Q?bb?=\""), Any},
		{"boundary in percents", typed("multipart/mixed; boundary*=utf-8''%62%62"), Any},
		{"boundary in pieces, turned round", typed("multipart/mixed; boundary*1=b; boundary*0=b"), Any},
		{"boundary thrice", typed("multipart/mixed; boundary=xx; boundary=bb; boundary=yy"), "boundary-ambiguous"},
		{"boundary in a comment", typed("multipart/mixed; (boundary=xx) boundary=bb"), Any},
		{"boundary in the value of another parameter", typed(`multipart/mixed; x="; boundary=xx"; boundary=bb`), Any},
		{"boundary in the value of another parameter, not quoted", typed(`multipart/mixed; x=boundary=xx; boundary=bb`), Any},
		{"boundary without a type", typed("; boundary=bb"), Any},
		{"boundary behind a comma", typed("multipart/mixed, boundary=bb"), Any},
		{"boundary of a text", typed("text/plain; boundary=bb"), Any},
		{"boundary in a field of its own", Attach("Content-Type: multipart/mixed\r\nBoundary: bb", "bb", Evil), Any},
		{"boundary in the subject", Attach("Subject: boundary=bb\r\nContent-Type: multipart/mixed", "bb", Evil), Any},
		{"delimiter with blanks behind it", strings.Replace(Attach(Mixed, "bb", Evil), "--bb\r\n", "--bb \t \r\n", 1), Any},
		{"delimiter with blanks in front of it", strings.Replace(Attach(Mixed, "bb", Evil), "--bb\r\n", " --bb\r\n", 1), Nobody},
		{"delimiter with text behind it", strings.Replace(Attach(Mixed, "bb", Evil), "--bb\r\n", "--bbxx\r\n", 1), Nobody},
		{"delimiter behind a bare LF", strings.Replace(Attach(Mixed, "bb", Evil), "preamble\r\n--bb", "preamble\n--bb", 1), Any},
		{"delimiter behind a bare CR", strings.Replace(Attach(Mixed, "bb", Evil), "preamble\r\n--bb", "preamble\r--bb", 1), Any},
		{"delimiter at the end of a line", strings.Replace(Attach(Mixed, "bb", Evil), "preamble\r\n--bb", "preamble--bb", 1), Nobody},
		{"delimiter in another case", strings.Replace(Attach(Mixed, "bb", Evil), "--bb\r\n", "--BB\r\n", 1), Nobody},
		{"delimiter with a NUL", strings.Replace(Attach(Mixed, "bb", Evil), "--bb\r\n", "--bb\x00\r\n", 1), Any},
		{"delimiter of the outer one inside", inner("Content-Type: multipart/mixed; boundary=cc", "--cc\r\nContent-Type: text/plain\r\n\r\nx\r\n--bb"+part+"--cc--"), Any},
		{"the same boundary at two depths", inner("Content-Type: multipart/mixed; boundary=bb", "--bb"+part+"--bb--"), Any},
	}
}

func types() []Message {
	return []Message{
		{"type with blanks around the slash", typed("multipart / mixed; boundary=bb"), Any},
		{"type with a comment", typed("multipart/mixed (x); boundary=bb"), Any},
		{"type with a comment in it", typed("multipart(x)/mixed; boundary=bb"), Any},
		{"type in quotes", typed(`"multipart/mixed"; boundary=bb`), Any},
		{"type without a subtype", typed("multipart; boundary=bb"), Any},
		{"type of two slashes", typed("multipart/mixed/x; boundary=bb"), Any},
		{"type with a comma", typed("multipart/mixed,text/plain; boundary=bb"), Any},
		{"type that nobody knows", typed("multipart/x-nonsense; boundary=bb"), Any},
		{"alternatives", typed("multipart/alternative; boundary=bb"), Any},
		{"related", typed("multipart/related; boundary=bb; start=\"<x>\""), Any},
		{"signed", typed("multipart/signed; boundary=bb; protocol=\"x/y\"; micalg=z"), Any},
		{"a report", typed("multipart/report; boundary=bb; report-type=delivery-status"), Any},
		{"an encrypted one that is not", typed("multipart/encrypted; boundary=bb"), Any},
		{"AppleDouble", typed("multipart/appledouble; boundary=bb"), Any},
		{"form data", strings.Replace(typed("multipart/form-data; boundary=bb"), "attachment;", "form-data; name=\"x\";", 1), Any},
		{"two types of the part", in("Content-Type:", "Content-Type: text/plain\r\nContent-Type:"), "duplicate-content-type"},
		{"two types, multipart and multipart", Attach("Content-Type: multipart/mixed; boundary=aa\r\n"+Mixed, "bb", Evil), "duplicate-content-type"},
		{"two types in two cases", Attach("CONTENT-TYPE: text/plain\r\n"+Mixed, "bb", Evil), "duplicate-content-type"},
		{"three types", Attach("Content-Type: text/plain\r\n"+Mixed+"\r\nContent-Type: text/html", "bb", Evil), "duplicate-content-type"},
		{"two types, one empty", Attach("Content-Type:\r\n"+Mixed, "bb", Evil), Any},
		{"empty type of the part", in("application/octet-stream", ""), Any},
		{"type of the part only a slash", in("application/octet-stream", "/"), Any},
		{"type with a NUL", typed("multipart/mi\x00xed; boundary=bb"), "nul-in-header"},
		{"type as an encoded word", typed("=?us-ascii?Q?multipart/mixed?=; boundary=bb"), Any},
		{"message/global", inner("Content-Type: message/global", strings.TrimSuffix(Attach("Content-Type: multipart/mixed; boundary=cc", "cc", Evil), "\r\n")), Any},
		{"message/news", inner("Content-Type: message/news", strings.TrimSuffix(Attach("Content-Type: multipart/mixed; boundary=cc", "cc", Evil), "\r\n")), Any},
		{"attached message of two types", inner("Content-Type: text/plain\r\nContent-Type: message/rfc822", strings.TrimSuffix(Attach("Content-Type: multipart/mixed; boundary=cc", "cc", Evil), "\r\n")), "duplicate-content-type"},
		{"headers of a message as a part", inner("Content-Type: text/rfc822-headers", "Subject: x"+part), Nobody},
	}
}

func fields() []Message {
	plain := Attach(Mixed, "bb", Evil)
	return []Message{
		{"field names in capitals", Attach(strings.ToUpper(Mixed[:12])+Mixed[12:], "bb", strings.NewReplacer("Content-Type", "CONTENT-TYPE", "Content-Transfer-Encoding", "CONTENT-TRANSFER-ENCODING", "Content-Disposition", "content-disposition").Replace(Evil)), ""},
		{"no blank behind the colons", strings.NewReplacer("Type: ", "Type:", "Encoding: ", "Encoding:", "Disposition: ", "Disposition:").Replace(plain), ""},
		{"tab behind the colons", strings.NewReplacer("Type: ", "Type:\t", "Encoding: ", "Encoding:\t").Replace(plain), ""},
		{"tab before the colons", strings.NewReplacer("Type:", "Type\t:", "Encoding:", "Encoding\t:", "Disposition:", "Disposition\t:").Replace(plain), Any},
		{"folded behind the colons", strings.NewReplacer("Type: ", "Type:\r\n ", "Encoding: ", "Encoding:\r\n ", "Disposition: ", "Disposition:\r\n ").Replace(plain), Any},
		{"folded before the colons", strings.NewReplacer("Type:", "Type\r\n :", "Encoding:", "Encoding\r\n :", "Disposition:", "Disposition\r\n :").Replace(plain), Nobody},
		{"comment in the name of the encoding", in(encoding, "Content-Transfer-Encoding (x): base64"), "comment-in-header-name"},
		{"comment in the name of the type", Attach("Content-Type(x): multipart/mixed; boundary=bb", "bb", Evil), "comment-in-header-name"},
		{"comment in front of a name", in(encoding, "(x) Content-Transfer-Encoding: base64"), Any},
		{"comment with a colon in the name", in(encoding, "Content-Transfer-Encoding (a:b): base64"), Any},
		{"NUL in a field's name", in(encoding, "Content-Transfer\x00-Encoding: base64"), "nul-in-header"},
		{"hard blank behind a name", in(encoding, "Content-Transfer-Encoding\xc2\xa0: base64"), Any},
		{"vertical tab behind a name", in(encoding, "Content-Transfer-Encoding\v: base64"), Any},
		{"form feed behind the colon", in(encoding, "Content-Transfer-Encoding:\fbase64"), Any},
		{"underscores in a name", in(encoding, "Content_Transfer_Encoding: base64"), Any},
		{"no colon", in(encoding, "Content-Transfer-Encoding base64"), Any},
		{"equals for a colon", in(encoding, "Content-Transfer-Encoding=base64"), Any},
		{"only a colon", in(encoding, ": x\r\n"+encoding), Any},
		{"garbage in front of the fields of the part", in("Content-Type:", "garbage\r\nContent-Type:"), Any},
		{"a line of a mailbox in front", "From a@b Thu Jan  1 00:00:00 2026\r\n" + plain, Any},
		{"a quoted line of a mailbox in front", ">From a@b Thu Jan  1 00:00:00 2026\r\n" + plain, Any},
		{"an empty line in front", "\r\n" + plain, Nobody},
		{"a byte order mark in front", "\xef\xbb\xbf" + plain, Any},
		{"a field of 1,500 octets in front", "X: " + strings.Repeat("x", 1500) + "\r\n" + plain, Any},
		{"a field of 40 KiB in the part", in("Content-Type:", "X: "+strings.Repeat("x", 40<<10)+"\r\nContent-Type:"), Any},
		{"a type folded into 40 lines", typed("multipart/mixed;" + strings.Repeat("\r\n x=y;", 40) + "\r\n boundary=bb"), Any},
		{"a continuation of blanks in front of the boundary", typed("multipart/mixed;\r\n \r\n boundary=bb"), "blank-continuation"},
		{"bare LF in the header", in("\r\nContent-D", "\nContent-D"), Any},
		{"CR CR LF in the header", in("\r\nContent-D", "\r\r\nContent-D"), Any},
		{"bare CR between header and body", strings.Replace(plain, "evil.exe\r\n\r\n", "evil.exe\r\n\r", 1), Any},
		{"bare LF between header and body", strings.Replace(plain, "evil.exe\r\n\r\n", "evil.exe\n\n", 1), Any},
		{"a blank between header and body", strings.Replace(plain, "evil.exe\r\n\r\n", "evil.exe\r\n \r\n", 1), Any},
		{"no line between header and body", strings.Replace(plain, "evil.exe\r\n\r\n", "evil.exe\r\n", 1), Any},
		{"high octets in a field", in("octet-stream", "octet-stream; x=\xe4\xf6\xfc"), Any},
		{"a line separator of Unicode in a field", in(name, "x=y\u2028; "+name), Any},
		{"fields of MIME behind 300 others", strings.Repeat("X: y\r\n", 300) + plain, ""},
	}
}

func names() []Message {
	return []Message{
		{"name in blanks", in(name, `filename="  evil.exe  "`), Any},
		{"name folded", in(name, "filename=\"ev\r\n il.exe\""), Any},
		{"name with escapes", in(name, `filename="ev\il.e\xe"`), Any},
		{"name in another directory", in(name, `filename="../../evil.exe"`), Any},
		{"name with backslashes", in(name, `filename="C:\evil.exe"`), Any},
		{"name behind a parameter without a value", in(name, "x; "+name), Any},
		{"name behind a parameter with a quote left open", in(name, `x="; `+name), Any},
		{"name behind a bracket left open", in(name, `x=(; `+name), Any},
		{"name with blanks around its sign", in(name, "filename = evil.exe"), Any},
		{"name by another sign", in(name, "filename: evil.exe"), Nobody},
		{"name in capitals", in(name, "FILENAME=evil.exe"), ""},
		{"name in Content-Description only", in("Content-Disposition: attachment; filename=evil.exe", "Content-Disposition: attachment\r\nContent-Description: evil.exe"), Nobody},
		{"disposition that nobody knows", in("attachment", "x-nonsense"), Any},
		{"no disposition but a name", in("attachment; ", ""), Any},
		{"disposition in quotes", in("attachment;", `"attachment";`), Any},
		{"inline", in("attachment", "inline"), ""},
		{"two names of one parameter", in(name, "filename=good.txt; filename=evil.exe"), Any},
		{"two names, the first counts", in(name, "filename=evil.exe; filename=good.txt"), Any},
		{"RFC 2231 in eleven pieces", in(name, "filename*0=e; filename*1=v; filename*2=i; filename*3=l; filename*4=.; filename*5=e; filename*6=x; filename*7=e; filename*8=\"\"; filename*9=\"\"; filename*10=\"\""), Any},
		{"RFC 2231 turned round", in(name, "filename*1=il.exe; filename*0=ev"), Any},
		{"RFC 2231 without the first piece", in(name, "filename*1=evil.exe"), Any},
		{"RFC 2231 with zeros", in(name, "filename*00=ev; filename*01=il.exe"), Any},
		{"RFC 2231 with a number below zero", in(name, "filename*-1=ev; filename*0=evil.exe"), Any},
		{"RFC 2231 with a huge number", in(name, "filename*0=evil.exe; filename*99999999999999999999=.txt"), Any},
		{"RFC 2231 with no charset", in(name, "filename*=evil.exe"), Any},
		{"RFC 2231 with one quote", in(name, "filename*=utf-8'evil.exe"), Any},
		{"RFC 2231 with a language", in(name, "filename*=utf-8'en'evil.exe"), Any},
		{"RFC 2231 with an unknown charset", in(name, "filename*=x-nonsense''evil.exe"), Any},
		{"RFC 2231 in quotes", in(name, `filename*="utf-8''evil.exe"`), Any},
		{"RFC 2231 with broken percents", in(name, "filename*=utf-8''%zzevil%2.exe"), Any},
		{"RFC 2231 in UTF-16", in(name, "filename*=utf-16be''%00e%00v%00i%00l%00.%00e%00x%00e"), Any},
		{"RFC 2231 of both kinds in pieces", in(name, "filename*0=ev; filename*1*=%69l.exe"), Any},
		{"RFC 2231 in pieces beside an extended one", in(name, "filename*0=good; filename*1=.txt; filename*=utf-8''evil.exe"), Any},
		{"RFC 2231 in Content-Type", in("octet-stream", "octet-stream; name*0=ev; name*1=il.exe"), Any},
		{"RFC 2231 twice", in(name, "filename*=utf-8''good.txt; filename*=utf-8''evil.exe"), Any},
		{"two encoded words", in(name, `filename="=?utf-8?B?ZXZpbA==?= =?utf-8?B?LmV4ZQ==?="`), Any},
		{"encoded word not quoted", in(name, `filename==?utf-8?B?ZXZpbC5leGU=?=`), Any},
		{"encoded word in quoted-printable", in(name, `filename="=?utf-8?Q?evil=2Eexe?="`), Any},
		{"encoded word with a language", in(name, `filename="=?utf-8*en?Q?evil.exe?="`), Any},
		{"encoded word of an unknown charset", in(name, `filename="=?x-nonsense?Q?evil.exe?="`), Any},
		{"encoded word never closed", in(name, `filename="=?utf-8?Q?evil.exe"`), Any},
		{"encoded word of one half", in(name, `filename="evil=?utf-8?Q?.exe?="`), Any},
		{"encoded word inside RFC 2231", in(name, `filename*=utf-8''%3D%3Futf-8%3FQ%3Fevil.exe%3F%3D`), Any},
		{"override of the direction of writing", in(name, "filename*=utf-8''%E2%80%AEevil.exe"), Any},
		{"letters of full width", in(name, "filename*=utf-8''evil.%EF%BD%85xe; "+name), Any},
		{"name of 20 KiB", in(name, "filename=\""+strings.Repeat("a", 20<<10)+"evil.exe\""), Any},
	}
}

func encodings() []Message {
	plain := Attach(Mixed, "bb", Evil)
	as := func(e string) string { return in(encoding, "Content-Transfer-Encoding: "+e) }
	return []Message{
		{"encoding in capitals", as("BASE64"), ""},
		{"encoding with a comment", as("base64 (x)"), Any},
		{"encoding behind a comment", as("(x) base64"), Any},
		{"encoding with a semicolon", as("base64;"), Any},
		{"encoding with a parameter", as("base64; x=y"), Any},
		{"encoding in quotes", as(`"base64"`), Any},
		{"encoding with a full stop", as("base64."), Any},
		{"encoding of two words", as("base64 7bit"), Any},
		{"encoding of two with a comma", as("7bit, base64"), Any},
		{"encoding with a hyphen", as("base-64"), Any},
		{"encoding with an x", as("x-base64"), Any},
		{"encoding with a NUL", as("base64\x00"), "nul-in-header"},
		{"encoding as an encoded word", as("=?us-ascii?Q?base64?="), Any},
		{"encoding folded", in(encoding, "Content-Transfer-Encoding:\r\n\tbase64"), ""},
		{"encoding empty", as(""), Any},
		{"encoding twice the same", in(encoding, encoding+"\r\n"+encoding), Any},
		{"encoding twice, quoted-printable first", in(encoding, "Content-Transfer-Encoding: quoted-printable\r\n"+encoding), "duplicate-content-transfer-encoding"},
		{"encoding twice, 8bit last", in(encoding, encoding+"\r\nContent-Transfer-Encoding: 8bit"), "duplicate-content-transfer-encoding"},
		{"encoding thrice", in(encoding, "Content-Transfer-Encoding: 7bit\r\n"+encoding+"\r\nContent-Transfer-Encoding: binary"), "duplicate-content-transfer-encoding"},
		{"encoding in Content-Encoding", in(encoding, "Content-Encoding: base64"), Any},
		{"encoding without Content", in(encoding, "Transfer-Encoding: base64"), Any},
		{"base64 in lines of one", strings.Replace(plain, File, strings.Join(strings.Split(File, ""), "\r\n"), 1), Any},
		{"base64 with blanks", strings.Replace(plain, File, strings.Join(strings.Split(File, ""), " "), 1), Any},
		{"base64 in front of its padding", strings.Replace(plain, File, "=\r\n"+File, 1), Any},
		{"base64 with padding in the middle", strings.Replace(plain, File, File[:4]+"="+File[4:], 1), Any},
		{"base64 with high octets", strings.Replace(plain, File, File[:5]+"\xff\xfe"+File[5:], 1), Any},
		{"base64 with NUL", strings.Replace(plain, File, File[:5]+"\x00"+File[5:], 1), Any},
		{"base64 with hyphens of lines", strings.Replace(plain, File, File[:6]+"-"+File[6:], 1), Any},
	}
}

func ends() []Message {
	plain := Attach(Mixed, "bb", Evil)
	return []Message{
		{"no closing boundary and no line end", strings.TrimSuffix(plain, "\r\n--bb--\r\n"), Any},
		{"closing boundary with one hyphen", strings.Replace(plain, "--bb--", "--bb-", 1), Any},
		{"closing boundary with three hyphens", strings.Replace(plain, "--bb--", "--bb---", 1), Any},
		{"closing boundary with text behind it", strings.Replace(plain, "--bb--", "--bb--text", 1), Any},
		{"closing boundary first", Attach(Mixed, "bb", "Content-Type: text/plain\r\n\r\n--bb--\r\n--bb\r\n"+Evil), Any},
		{"closed before it begins", strings.Replace(plain, "preamble", "--bb--", 1), Any},
		{"closed twice", plain + "--bb--\r\n", Any},
		{"a part behind an end without a line between", strings.TrimSuffix(Attach(Mixed, "bb", "Content-Type: text/plain"), "\r\n") + "\r\n\r\n--bb" + part + "--bb--\r\n", Any},
		{"parts behind two ends", Attach(Mixed, "bb", "Content-Type: text/plain") + "--bb--\r\n--bb" + part, Any},
		{"a whole message behind the end", Attach(Mixed, "bb", "Content-Type: text/plain") + "\r\n" + plain, Any},
		{"uuencoded behind the end", Attach(Mixed, "bb", "Content-Type: text/plain") + "begin-base64 644 evil.exe\r\n" + File + "\r\n====\r\n", Any},
		{"the inner one is never closed", inner("Content-Type: multipart/mixed; boundary=cc", "--cc"+part), Any},
		{"the inner one is closed by the outer", inner("Content-Type: multipart/mixed; boundary=cc", "--cc\r\nContent-Type: text/plain\r\n\r\nx\r\n--bb--\r\n--cc"+part+"--cc--"), Any},
		{"a part behind the inner end", inner("Content-Type: multipart/mixed; boundary=cc", "--cc\r\nContent-Type: text/plain\r\n\r\nx\r\n--cc--\r\n--cc"+part), Any},
		{"text in front of the parts is a part", strings.Replace(Attach(Mixed, "bb", "Content-Type: text/plain"), "preamble", Evil+"\r\n\r\n"+File, 1), Nobody},
		{"cut in the middle of the file", plain[:strings.Index(plain, File)+len(File)], Any},
	}
}

func places() []Message {
	deep := "\r\n" + Evil + "\r\n\r\n" + File + "\r\n"
	for range 20 {
		deep = "\r\nContent-Type: multipart/mixed; boundary=d\r\n\r\n--d" + deep + "--d--\r\n"
	}
	forward := strings.TrimSuffix(Attach("Content-Type: multipart/mixed; boundary=cc", "cc", Evil), "\r\n")
	for range 10 {
		forward = "Subject: x\r\nContent-Type: message/rfc822\r\n\r\n" + forward
	}
	return []Message{
		{"the only part of a multipart in a multipart", inner("Content-Type: multipart/mixed; boundary=cc", "--cc"+part+"--cc--"), ""},
		{"twenty multiparts deep", Attach(Mixed, "bb", strings.TrimPrefix(deep, "\r\n")+"\r\n--bb\r\nContent-Type: text/plain"), Any},
		{"a message in ten messages", inner("Content-Type: message/rfc822", forward), Any},
		{"behind 500 empty parts", Attach(Mixed, "bb", strings.Repeat("\r\n\r\n--bb\r\n", 500)+Evil), Any},
		{"a message of the type of its file", "From: a@b\r\nMIME-Version: 1.0\r\n" + Evil + "\r\n\r\n" + File + "\r\n", ""},
		{"a message without From", "MIME-Version: 1.0\r\n" + Evil + "\r\n\r\n" + File + "\r\n", Any},
		{"a message in the text of a part", inner("Content-Type: text/plain", "Begin forwarded message:\r\n\r\nbegin-base64 644 evil.exe\r\n"+File+"\r\n===="), Any},
		{"a digest in a digest", inner("Content-Type: multipart/digest; boundary=cc", "--cc\r\nContent-Type: multipart/digest; boundary=dd\r\n\r\n--dd\r\n\r\n"+Evil+"\r\n\r\n"+File+"\r\n--dd--\r\n--cc--"), Any},
		{"a part of a digest under its own type", Attach("Content-Type: multipart/digest; boundary=bb", "bb", Evil), Any},
	}
}
