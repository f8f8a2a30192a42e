from __future__ import annotations

from bench.parts.python_changelog import entries

PAGE = """
<h2>Python 3.11.1 final<a class="headerlink" href="#x">¶</a></h2>
<p><em>Release date: 2022-12-06</em></p>
<h3>Library<a class="headerlink" href="#y">¶</a></h3>
<ul><li><p><a href="#">gh-1</a>, <a href="#">bpo-22</a>: Fix <code>a &lt; b</code>
in two lines.</p></li>
<li><p>Nameless.</p></li></ul>
<h3>IDLE<a class="headerlink" href="#z">¶</a></h3>
<ul><li><p><a href="#">gh-3</a>: Open it.</p></li></ul>
<h2>Python next<a class="headerlink" href="#x">¶</a></h2>
<h3>Library<a class="headerlink" href="#y">¶</a></h3>
<ul><li><p>Not released.</p></li></ul>
"""


def test_each_entry_has_the_date_of_its_release_and_its_section() -> None:
    assert list(entries(PAGE)) == [
        ("2022-12-06", "Library", "Fix a < b in two lines."),
        ("2022-12-06", "Library", "Nameless."),
        ("2022-12-06", "IDLE", "Open it."),
    ]
