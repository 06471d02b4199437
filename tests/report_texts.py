"""Made-up report texts, and what each says; no line of them is from a real report.

Codes: AT atelectasis, CM cardiomegaly, CO consolidation, ED edema, EC enlarged cardiomediastinum,
FX fracture, LL lung lesion, LO lung opacity, EF pleural effusion, PN pneumonia, PX pneumothorax,
PO pleural other, SD support devices; + present, - absent, ? uncertain. What is not listed is not
mentioned.
"""

CODES = {
    "AT": "Atelectasis", "CM": "Cardiomegaly", "CO": "Consolidation", "ED": "Edema",
    "EC": "Enlarged Cardiomediastinum", "FX": "Fracture", "LL": "Lung Lesion",
    "LO": "Lung Opacity", "EF": "Pleural Effusion", "PN": "Pneumonia", "PX": "Pneumothorax",
    "PO": "Pleural Other", "SD": "Support Devices",
}  # fmt: skip
CLEAR = "AT- CO- ED- LL- LO- PN-"
NOTHING_ACUTE = "CO- ED- EF- PN- PX-"

SENTENCES = [
    # plain mentions, spellings, plurals, hyphens
    ("Large right-sided pneumothorax.", "PX+"),
    ("There are small bilateral pleural effusions.", "EF+"),
    ("Diffuse pulmonary oedema.", "ED+ LO+"),
    ("PULMONARY EDEMA.", "ED+ LO+"),
    ("Air-space disease at the right base.", "LO+"),
    ("Multiple pulmonary nodules are again demonstrated.", "LL+ LO+"),
    ("Bibasilar atelectatic changes.", "AT+ LO+"),
    ("Compression deformity of a midthoracic vertebral body.", "FX+"),
    ("Calcified pleural plaques are noted.", "PO+"),
    ("Left hydropneumothorax.", "EF+ PX+"),
    ("Healed left rib fractures.", "FX+"),
    ("Collapse of the left lower lobe.", "AT+ LO+"),
    # negation, before and behind, and over lists
    ("No pneumothorax.", "PX-"),
    ("There is no evidence of pneumothorax or pleural effusion.", "PX- EF-"),
    ("No effusion, pneumothorax or consolidation.", "EF- PX- CO-"),
    ("No focal consolidation, pleural effusion, and pneumothorax are seen.", "CO- EF- PX-"),
    ("No pleural effusion, pulmonary edema, pneumothorax, or focal airspace consolidation "
     "concerning for pneumonia is seen.", "EF- ED- PX- CO- PN-"),
    ("There is no focal consolidation to suggest pneumonia.", "CO- PN-"),
    ("Effusion, pneumothorax, or consolidation are not seen.", "EF- PX- CO-"),
    ("Neither effusion nor pneumothorax is seen.", "EF- PX-"),
    ("Lungs are clear of focal consolidation, effusion, or pneumothorax.", "CO- EF- PX-"),
    ("The study is negative for acute fracture.", "FX-"),
    ("Free of edema.", "ED-"),
    ("Pneumonia has been ruled out.", "PN-"),
    ("Effusion: none. Pneumothorax: none. Heart: enlarged.", "EF- PX- CM+ EC+"),
    ("No definite pneumothorax.", "PX-"),
    ("No large pleural effusion or pneumothorax.", "EF- PX-"),
    ("No effusion/pneumothorax.", "EF- PX-"),
    ("Pleural thickening without effusion.", "PO+ EF-"),
    ("A pneumothorax is not identified.", "PX-"),
    # where negation ends
    ("No pneumothorax, small left effusion.", "PX- EF+"),
    ("No pneumothorax but small effusion.", "PX- EF+"),
    ("No pneumothorax and a small effusion is present.", "PX- EF+"),
    ("No pneumothorax is seen and the heart is enlarged.", "PX- CM+ EC+"),
    ("Cardiac silhouette is mildly enlarged but no overt edema.", "CM+ EC+ ED-"),
    ("No new focal consolidation; stable bibasilar atelectasis.", "CO- AT+ LO+"),
    ("Effusion is present, pneumothorax is not seen.", "EF+ PX-"),
    ("No consolidation. Effusion.", "CO- EF+"),
    ("There are low lung volumes with crowding, but no consolidation, edema, or effusion.",
     "CO- ED- EF-"),
    ("Aside from atelectasis, no opacity is seen.", "AT+ LO+"),
    # what only looks like negation
    ("No change in moderate cardiomegaly.", "CM+ EC+"),
    ("No significant interval change in the right effusion.", "EF+"),
    ("No increase in the size of the pneumothorax.", "PX+"),
    ("Not only atelectasis but also consolidation is present.", "AT+ CO+ LO+"),
    ("The pleural effusion is not significantly changed.", "EF+"),
    ("Moderate cardiomegaly without change.", "CM+ EC+"),
    ("New right infrahilar opacity, not present on the prior exam.", "LO+"),
    ("Nodular density not seen on the prior study.", "LL+ LO+"),
    # resolved, removed, still there
    ("Previously seen edema has resolved.", "ED-"),
    ("Resolved right pneumothorax.", "PX-"),
    ("Right-sided effusion, now resolved.", "EF-"),
    ("Interval resolution of the left effusion.", "EF-"),
    ("The right pleural effusion has nearly resolved.", "EF+"),
    ("Edema has improved.", "ED+ LO+"),
    ("Stable small effusion, unchanged.", "EF+"),
    ("The endotracheal tube has been removed.", "SD-"),
    ("Interval removal of the chest tube. No pneumothorax.", "SD- PX-"),
    ("The previously noted nodule is no longer seen.", "LL-"),
    # hedges
    ("A small effusion cannot be excluded.", "EF?"),
    ("Possible small left apical pneumothorax.", "PX?"),
    ("Opacity at the left base may represent atelectasis or pneumonia.", "LO+ AT? PN?"),
    ("Findings are concerning for pneumonia.", "PN? LO?"),
    ("Bibasilar opacities, likely atelectasis.", "LO+ AT?"),
    ("Atelectasis versus pneumonia at the right base.", "AT? PN? LO?"),
    ("Right basilar atelectasis or consolidation.", "AT? CO? LO?"),
    ("?pneumonia at the left base.", "PN? LO?"),
    ("Pneumonia is less likely.", "PN? LO?"),
    ("No pneumothorax, although a small effusion cannot be excluded.", "PX- EF?"),
    ("Right lower lobe consolidation, which may represent pneumonia.", "CO+ LO+ PN?"),
    ("Blunting of the left costophrenic angle.", "EF?"),
    ("Heart size is borderline.", "CM? EC?"),
    ("Possible pneumonia without effusion.", "PN? LO? EF-"),
    ("Increased interstitial markings, consistent with mild edema.", "LO+ ED+"),
    ("Infection should be considered in the appropriate clinical setting.", "PN? LO?"),
    ("Opacity that is suspicious for a mass.", "LO+ LL?"),
    ("Minimal, if any, pleural effusion.", "EF?"),
    ("Bibasilar opacities likely reflect atelectasis, although superimposed infection cannot be "
     "excluded.", "LO+ AT? PN?"),
    ("Right base atelectasis with no definite focal consolidation; trace effusion is possible.",
     "AT+ LO+ CO- EF?"),
    ("Left lower lobe collapse and/or consolidation.", "AT? CO? LO?"),
    ("Hazy opacity probably represents a combination of effusion and atelectasis.",
     "LO+ EF? AT?"),
    ("In the appropriate clinical setting, pneumonia could be considered.", "PN? LO?"),
    ("No large effusion but a small effusion may be present.", "EF?"),
    ("Doubt pneumonia.", "PN? LO?"),
    ("Possible pneumonia and a small effusion.", "PN? LO? EF+"),
    # the heart, the mediastinum and normal statements
    ("Heart size is normal. The mediastinal and hilar contours are unremarkable.", "CM- EC-"),
    ("The cardiac, mediastinal and hilar contours are normal.", "CM- EC-"),
    ("Cardiomediastinal silhouette is within normal limits.", "CM- EC-"),
    ("The heart is not enlarged.", "CM-"),
    ("The heart is not normal in size.", ""),
    ("Heart size is top normal.", "CM-"),
    ("Widened mediastinum.", "EC+"),
    ("Normal heart size and mediastinal contours.", "CM-"),
    ("The lungs are clear.", CLEAR),
    ("The lungs are well expanded and clear.", CLEAR),
    ("LUNGS: Clear. HEART: Normal size.", CLEAR + " CM-"),
    ("Lungs are clear. Small nodule at the left apex.", "AT- CO- ED- LL+ LO+ PN-"),
    ("The right lung is clear.", ""),
    ("No acute cardiopulmonary process.", NOTHING_ACUTE),
    ("No acute osseous abnormality.", "FX-"),
    ("Osseous structures are intact.", "FX-"),
    ("The cardiomediastinal silhouette is stable and unremarkable.", "CM- EC-"),
    ("The heart is upper limits of normal in size.", "CM-"),
    ("Normal size of the cardiac silhouette.", "CM-"),
    ("Cardiac silhouette is at the upper limits of normal in size.", "CM-"),
    ("There is no pneumothorax, and the heart size is normal.", "PX- CM-"),
    # words that mean something else
    ("Subcutaneous emphysema along the left chest wall.", ""),
    ("Pericardial effusion is suspected.", ""),
    ("No mass effect.", ""),
    ("Portable view in the midline.", ""),
    ("Soft tissue edema of the neck.", ""),
    # what is asked, feared, or was
    ("History of pneumonia.", ""),
    ("Evaluate for pneumonia or effusion.", ""),
    ("Patient with history of lung cancer, now with right effusion.", "EF+"),
    ("If there is concern for pneumonia, CT is recommended.", ""),
    ("Follow up radiographs to document resolution of pneumonia are recommended.", ""),
    # devices
    ("ET tube in standard position.", "SD+"),
    ("Tip of the right PICC projects over the SVC; no pneumothorax.", "SD+ PX-"),
    ("Left-sided pacemaker with leads in the right atrium and right ventricle.", "SD+"),
    ("Median sternotomy wires are intact.", "SD+"),
    ("No lines or tubes.", "SD-"),
    ("The patient is status post CABG with intact median sternotomy wires.", "SD+"),
    ("No pneumothorax following chest tube removal.", "PX- SD-"),
    ("EKG leads overlie the chest.", ""),
]  # fmt: skip

# Lists, joints and devices that are hard to tell apart; each was read before the rules were asked.
HARD = [
    # `with` ends a negation
    ("No pneumothorax with small bilateral effusions.", "PX- EF+"),
    ("No evidence of pneumonia, with a stable right effusion.", "PN- EF+"),
    ("Status post removal of chest tube with new small pneumothorax.", "SD- PX+"),
    ("Interval removal of right chest tube with a moderate right pneumothorax.", "SD- PX+"),
    ("No consolidation with small left effusion.", "CO- EF+"),
    ("Resolved pneumonia with new effusion.", "PN- EF+"),
    ("Interval resolution of edema with persistent small effusions.", "ED- EF+"),
    ("No effusion with no pneumothorax.", "EF- PX-"),
    ("No pneumothorax with the chest tube in place.", "PX- SD+"),
    ("No edema or effusion, with stable cardiomegaly.", "ED- EF- CM+ EC+"),
    ("No findings consistent with pneumonia.", "PN-"),
    ("No opacity compatible with pneumonia or edema.", "LO- PN- ED-"),
    ("No consolidation with air bronchograms.", "CO-"),
    ("Stable cardiomegaly with mild edema, without effusion.", "CM+ EC+ ED+ LO+ EF-"),
    ("Cardiomegaly with edema no longer seen.", "CM+ EC+ ED-"),
    ("Bibasilar atelectasis with superimposed pneumonia not excluded.", "AT+ LO+ PN?"),
    ("Bibasilar atelectasis with superimposed pneumonia cannot be excluded.", "AT+ LO+ PN?"),
    ("Consolidation with effusion has resolved.", "CO- EF-"),
    ("Bibasilar atelectasis with or without effusion.", "AT+ LO+ EF?"),
    ("Cardiomegaly with resolved edema.", "CM+ EC+ ED-"),
    ("Possible pneumonia with a small effusion.", "PN? LO? EF+"),
    ("History of lung cancer with a new right effusion.", "EF+"),
    ("Compared with the prior, no effusion or edema.", "EF- ED-"),
    # a statement of its own behind a comma or `and`
    ("There is no free air, and a right pneumothorax is present.", "PX+"),
    ("No focal consolidation, and a small left effusion is seen.", "CO- EF+"),
    ("No pneumothorax, and bilateral effusions are noted.", "PX- EF+"),
    ("Negative for pneumonia, edema is present.", "PN- ED+ LO+"),
    ("No pneumonia, edema is present.", "PN- ED+ LO+"),
    ("No pneumothorax, and there is a moderate effusion.", "PX- EF+"),
    ("No pneumothorax, right basilar atelectasis.", "PX- AT+ LO+"),
    ("No pneumothorax, small effusion and atelectasis.", "PX- EF+ AT+ LO+"),
    ("No pneumothorax, and a small effusion is seen without edema or pneumonia.",
     "PX- EF+ ED- PN-"),
    ("No consolidation, a small effusion is seen at the base, and atelectasis or pneumonia.",
     "CO- EF+ AT? PN? LO?"),
    ("No consolidation, pneumonia, and bilateral effusions are noted.", "CO- PN- EF+"),
    ("No pneumothorax, effusion has increased.", "PX- EF+"),
    ("Without pneumothorax, and the heart is enlarged.", "PX- CM+ EC+"),
    ("No pneumothorax, persistent left effusion.", "PX- EF+"),
    ("No edema and mild cardiomegaly.", "ED- CM+ EC+"),
    ("No pneumothorax; effusions are present.", "PX- EF+"),
    ("No pneumothorax; no effusion; cardiomegaly.", "PX- EF- CM+ EC+"),
    ("History of pneumonia, effusion is seen.", "EF+"),
    ("Possible pneumonia, and effusion is present.", "PN? LO? EF+"),
    # lists that stay denied
    ("No pneumothorax, effusion or consolidation.", "PX- EF- CO-"),
    ("Without effusion, pneumothorax, and edema.", "EF- PX- ED-"),
    ("No consolidation, effusion, edema, and pneumothorax.", "CO- EF- ED- PX-"),
    ("No consolidation, effusion, or a large mass.", "CO- EF- LL-"),
    ("No effusion, pneumothorax, nor edema.", "EF- PX- ED-"),
    ("No effusion and pneumothorax are seen.", "EF- PX-"),
    ("No new consolidation, effusion, or pneumothorax is seen.", "CO- EF- PX-"),
    ("No right or left pneumothorax.", "PX-"),
    ("No right effusion, left effusion, or pneumothorax.", "EF- PX-"),
    ("No focal consolidation, and no effusion or pneumothorax.", "CO- EF- PX-"),
    ("There is no effusion, edema, or pneumothorax but stable atelectasis.",
     "EF- ED- PX- AT+ LO+"),
    ("There is neither edema nor effusion, but the heart is enlarged.", "ED- EF- CM+ EC+"),
    ("Lungs are free of consolidation, edema, and nodules.", "CO- ED- LL-"),
    # denied behind, resolved, removed, gone
    ("Pneumonia is not suspected.", "PN-"),
    ("Findings are inconsistent with pneumonia.", "PN-"),
    ("The appearance is not consistent with edema.", "ED-"),
    ("The findings argue against pneumonia.", "PN-"),
    ("The right effusion is gone.", "EF-"),
    ("The small apical pneumothorax has disappeared.", "PX-"),
    ("Cardiomegaly, resolved edema.", "CM+ EC+ ED-"),
    ("Cardiomegaly and resolved edema.", "CM+ EC+ ED-"),
    ("Chest tube removed, no pneumothorax.", "SD- PX-"),
    ("No pneumothorax after removal of the chest tube, stable.", "PX- SD-"),
    ("The previously seen effusion and edema have resolved.", "EF- ED-"),
    ("The effusion has resolved, and the pneumothorax persists.", "EF- PX+"),
    ("Effusion and pneumothorax are not present.", "EF- PX-"),
    ("Consolidation is no longer seen, but a small effusion remains.", "CO- EF+"),
    ("Decreased right effusion, no pneumothorax.", "EF+ PX-"),
    ("Compared to the prior study, the effusion is larger and edema has resolved.", "EF+ ED-"),
    # hedges before and behind, and what is no hedge
    ("Cardiomegaly without edema or pneumonia.", "CM+ EC+ ED- PN-"),
    ("Cardiomegaly, no edema or pneumonia.", "CM+ EC+ ED- PN-"),
    ("Small effusion with atelectasis or pneumonia.", "EF+ AT? PN? LO?"),
    ("Atelectasis or consolidation and a small effusion.", "AT? CO? LO? EF+"),
    ("Tiny left apical pneumothorax, if any.", "PX?"),
    ("Trace effusion if any.", "EF?"),
    ("Left basilar pneumonia, unlikely.", "PN? LO?"),
    ("Consolidation, less likely atelectasis.", "CO+ LO+ AT?"),
    ("Pneumonia cannot be excluded, small effusion.", "PN? LO? EF+"),
    ("Trace effusion, if any, and atelectasis.", "EF? AT+ LO+"),
    ("Left basilar opacity, likely atelectasis or pneumonia.", "LO+ AT? PN?"),
    ("Pneumonia is not likely.", "PN? LO?"),
    ("Atelectasis is favored over pneumonia.", "AT? PN? LO?"),
    ("Left basilar opacity, favor atelectasis.", "LO+ AT?"),
    ("Pneumonia remains in the differential.", "PN? LO?"),
    ("Opacity could reflect pneumonia, and a small effusion is present.", "LO+ PN? EF+"),
    ("No effusion, but early edema is not excluded.", "EF- ED? LO?"),
    ("Right effusion is stable; pneumonia cannot be excluded.", "EF+ PN? LO?"),
]  # fmt: skip

_MIMIC_STYLE = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old woman with cough // evaluate for pneumonia,
 effusion or pneumothorax

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  Chest radiograph from ___, with large left effusion

 FINDINGS:

 A right Port-A-Cath ends in the low SVC.  The cardiac silhouette is
 mildly enlarged.  There is no focal consolidation, pleural
 effusion or pneumothorax.  Linear opacity at the left base is
 unchanged.

 IMPRESSION:

 1. No acute cardiopulmonary process.
 2. Left basilar opacity, likely atelectasis.
"""
_WET_READ = """ WET READ: ___ ___ 9:15 PM
 Possible pneumonia at the right base.
 ______________________________________________________________________________
                                 FINAL REPORT
 HISTORY:  Fever, rule out pneumonia.

 FINDINGS:  No consolidation.  Small right effusion.

 IMPRESSION:  No pneumonia.
"""
_NO_HEADING = """                                 FINAL REPORT
 CHEST RADIOGRAPH

 HISTORY:  Chest pain.  Pneumothorax in the past.

 COMPARISONS:  None.

 The patient is slightly rotated.  There is a small pleural effusion.
 No pneumothorax.

 Tracheostomy tube unchanged.  The pleural effusion has resolved.
"""
_ADDENDUM = """ FINDINGS: Lungs are clear. No pneumothorax.

 IMPRESSION: Normal chest.

 ADDENDUM: On further review there is a small left apical pneumothorax.
"""
_ONE_LINE = (
    "INDICATION: Pneumonia? FINDINGS: Heart is enlarged. IMPRESSION: Cardiomegaly, no edema."
)
_LISTED = """IMPRESSION
No effusion
Heart enlarged
- Rib fracture
- no pneumothorax
"""
_IMPRESSION_FIRST = """FINDINGS: There may be a small effusion. No edema. Nodule on the left.
IMPRESSION: No effusion. Mild edema.
"""
_NORMAL = "EXAM: Chest x-ray.\n\nFINDINGS: Normal chest radiograph.\n"
_RECOMMENDED = """FINDINGS: Clear lungs.

RECOMMENDATION(S): CT to exclude pneumothorax and mass.

NOTIFICATION: Pneumothorax was discussed with Dr. Example at 3 p.m.
"""
_WRAPPED = """FINDINGS: There is no pneumothorax, as on the prior
study
or on the one before. Edema.
"""
_STRUCTURED = """Findings
Lungs: No focal consolidation.
Pleura: Small right effusion.
Heart: Mildly enlarged.
Bones: No acute fracture.

Opinion
Small effusion.  Query early edema?
"""
WHOLE = {
    "wrapped": (_WRAPPED, "PX- ED+ LO+"),
    "structured": (_STRUCTURED, "CO- EF+ CM+ EC+ FX- ED? LO?"),
    "mimic style": (_MIMIC_STYLE, "CM+ EC+ CO- ED- EF- PN- PX- LO+ AT? SD+"),
    "wet read": (_WET_READ, "PN- CO- EF+"),
    "no heading": (_NO_HEADING, "SD+ EF- PX-"),
    "addendum": (_ADDENDUM, "AT- CM- CO- ED- EC- FX- LL- LO- EF- PN- PX+ PO-"),
    "one line": (_ONE_LINE, "CM+ EC+ ED-"),
    "listed": (_LISTED, "EF- CM+ EC+ FX+ PX-"),
    "impression first": (_IMPRESSION_FIRST, "EF- ED+ LO+ LL+"),
    "normal": (_NORMAL, "AT- CM- CO- ED- EC- FX- LL- LO- EF- PN- PX- PO-"),
    "recommended": (_RECOMMENDED, CLEAR),
}
