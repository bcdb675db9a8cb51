// Package index finds passages in a local collection of documents: BM25 over SQLite's FTS5, in one file that is built
// once and then only read, or in memory.
//
// A document (a title, a text, maybe an address) is cut into passages of about 150 words along its sections and
// sentences. Words are compared without case, accents and plural s; the title counts more than the body. The main types
// are Index, which is opened and searched, Passage, what a search gives, and Source, where documents come from: JSON
// Lines or a MediaWiki XML dump. The redirects of a dump are further names of its documents: who searches for one finds
// the document that it leads to, as by its title.
//
//	src, err := index.OpenSource(ctx, "enwiki-latest-pages-articles.xml.bz2")
//	err = index.Build(ctx, "wiki.db", src, func(p index.Progress) { log.Print(p.Docs) })
//	ix, err := index.Open("wiki.db")
//	defer ix.Close()
//	passages, err := ix.Search(ctx, "longest river of Albania", 3)
//
// Errors are returned and name the file, and the line or page where one is at fault; ErrFormat marks a file that is no
// index. The text of a query is data: nothing in it is an operator, and none of it is an error. An Index is safe for
// concurrent use. A build writes beside its destination and renames: a torn index never stands in its place.
package index
