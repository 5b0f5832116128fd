"""English words that a keyboard does not put into anybody's mouth: they are offered only to who writes them.

The model's public texts hold them. What is meant is suggesting, not typing: nothing here keeps anybody from writing a
word, and a word that a user has taught, or writes often, is offered like any other. The list is written for this
project, and is kept in ROT13 so that nobody reads it by accident.
"""

from __future__ import annotations

import codecs

_LIST = """
nefr nefrubyr nff nffrf nffubyr nffubyrf onfgneq onfgneqf ovgpu ovgpurf ovgpuvat ovgpul oybjwbo oybjwbof
obyybpxf obare obbof ohyyfuvg puvax puvaxf pbpx pbpxf pbpxfhpxre pbba pbbaf penc penccl phz phzzvat
phag phagf qnzzvg qnza qvpx qvpxurnq qvpxurnqf qvpxf qvyqb qvyqbf qhzonff qlxr qlxrf snt snttbg snttbgf sntf
spx shpx shpxrq shpxre shpxref shpxva shpxvat shpxf shx shxva tbqqnza tbqqnzarq tbbx tbbxf tgsb unaqwbo
ubr ubrf ubzb ubzbf wnpxnff wvmm xvxr xvxrf zvys zbyrfg zbgureshpxre zbgureshpxref
zbgureshpxvat avttn avttnf avttre avttref cnxv cnxvf cvff cvffrq cvffre cvffvat cbea cbeab cevpx
cevpxf chffvrf chffl encr encrq encvat encvfg encvfgf ergneq ergneqrq ergneqf fuvg fuvgr fuvgurnq
fuvgf fuvggvat fuvggl fxnax fyhg fyhgf fyhggl fcnfgvp fcnm fcvp fcvpf fgsh gubg gvgf gvggvrf gvggl
gbffre genaavrf genaal gjng gjngf jnax jnaxre jnaxref jrgonpx jrgonpxf juber juberf jgs
"""

OFFENSIVE: frozenset[str] = frozenset(codecs.decode(_LIST, "rot13").split())
"""Lower-case words."""
