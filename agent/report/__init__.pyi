from .html import NothingToReport as NothingToReport
from .html import write_html_report as write_html_report
from .maps import feasible_values as feasible_values
from .report import AssessedModel as AssessedModel
from .report import build_report as build_report
from .report import read_report as read_report
from .report import write_report as write_report
from .status import campaign_status as campaign_status
